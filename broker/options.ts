/* Options: what can be set, its default, and what it may be.
 *
 * Everything is checked before anything is opened. How options are said on the command line, by variables and in a file is
 * flags.ts. */

import { BlockList, isIP } from "node:net";
import { hostname } from "node:os";

export const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** How to run a broker. All fields are optional when it is embedded: see `defaults`. */
export interface BrokerOptions {
  /** The address to listen on. Without `authSecret` or `jwks` it must be a loopback address. */
  host: string;
  /** The TCP port; 0 takes a free one. */
  port: number;
  /**
   * Connections that may wait until they are accepted; the kernel's `net.core.somaxconn` bounds it too. One that finds no
   * place is tried again by its client's kernel, a second later at the soonest.
   */
  backlog: number;
  /** A port of its own for `/metrics`, which is told there alone, and `/healthz` and `/readyz`, which the clients' port answers
   *  too; 0 takes a free one. */
  operatorPort: number | undefined;
  /** The address that it listens on; by default `host`. In open mode too it may be any: nothing of a user is told there. */
  operatorHost: string | undefined;
  /** How long one scrape's metrics are given to others who ask, in ms; 0: each makes its own. */
  metricsShareMs: number;
  /** The data folder; made when missing. */
  data: string;
  /** At this start the epoch changes, since history may have been lost: readers' cursors are refused with `epoch_mismatch`. */
  newEpoch: boolean;
  /** At this start the epoch stays also when the data turn out to be a copy: nothing was answered since it was made. */
  sameEpoch: boolean;
  /** The secret that HS256 tokens are signed with, 32 bytes at least. */
  authSecret: string | undefined;
  /** A URL or a file with the public keys (JWKS) that RS256, ES256 or EdDSA tokens are signed with. */
  jwks: string | undefined;
  /** The `iss` that tokens must have. */
  issuer: string | undefined;
  /** The `aud` that tokens must have. */
  audience: string | undefined;
  /** A file with the secret, instead of `authSecret`: others see a command line, and variables are passed on. */
  authSecretFile: string | undefined;
  /** The claim that holds the handle; a dot leads into a map where no claim has the whole name. By default `sub`. */
  userClaim: string | undefined;
  /** The claim that holds the scopes, as a text with spaces or a list. By default `scope`, or where there is none `scp`. */
  scopeClaim: string | undefined;
  /** How long after its `iat`, which it then needs, a token ends at the latest, in ms. */
  maxTokenAgeMs: number | undefined;
  logLevel: LogLevel;
  /**
   * `always`: commands are answered and delivered once they are on disk. `periodic`: once they are committed; a power cut
   * may lose the last moments, and the epoch changes after an unclean stop, so that no cursor lies.
   */
  sync: "always" | "periodic";
  /** Processes that hold the sessions, while this one applies; 0: this one does both. `serve` has one for each core beyond the first. */
  workers: number;
  /** This node's name, told to clients. `whalesong`, or in a cluster `HOST-PORT`, unless it is given one. */
  node: string;
  /** The clock is right, whatever the newest command or an earlier run says of it: for one start, when it was wrong before and is not any more. */
  acceptClock: boolean;
  /** Entries older than this are removed, in ms. Kept for ever when undefined. */
  retainAgeMs: number | undefined;
  /** How many of the newest entries are kept. All when undefined. */
  retainCount: number | undefined;
  /** Bytes of the store past which publishes are refused with `storage_full`. */
  maxStoreBytes: number | undefined;
  /** Bytes that must stay free on the disk. */
  minFreeBytes: number;
  /** Commands a second for one user, and at once. */
  userRate: number;
  userBurst: number;
  /** Bytes of posts a second for one user, and at once: text, data, mentions, tags and key. */
  userBytes: number;
  userBytesBurst: number;
  /** Look-ups a second for what one user reads, and at once: an entry looked at is one. */
  userReadRate: number;
  userReadBurst: number;
  /** Requests a second on one connection, and at once. */
  connectionRate: number;
  connectionBurst: number;
  /** Connections to the whole broker at once. Undefined: as many as its processes can hold open. */
  maxConnections: number | undefined;
  /** Connections of one user with a token, in each process that holds sessions; those with the scope `backend` are not counted. */
  maxUserConnections: number;
  /** Connections from one address, in each process that holds sessions. Undefined: not limited, since behind a proxy all come from one. */
  maxAddressConnections: number | undefined;
  /** How long a connection may take to say hello, in ms. */
  helloTimeoutMs: number;
  /** How long a connection may take nothing of what it is sent, in ms. */
  noProgressMs: number;
  /** How often connections are pinged, in ms. */
  pingMs: number;
  /** How often quiet streams are told their cursor, in ms. */
  cursorMs: number;
  /** Over how long a stop spreads its goodbyes, in ms. */
  drainMs: number;
  /** Origins of browser pages and apps that may use the broker besides its own: `https://example.com`, `capacitor://localhost`,
   *  `null` for pages without a name; `*` is any. */
  corsOrigins: string[];
  /** Whether WebSocket clients that ask for compression (permessage-deflate) get it. */
  compress: boolean;
  /** NATS servers (`nats://host:4222`), any of one NATS; the broker is then a node of a cluster. Undefined: it stands alone. */
  nats: string[] | undefined;
  /** A file with NATS credentials (JWT and seed), as `nsc` makes them. */
  natsCreds: string | undefined;
  /** A token for NATS. */
  natsToken: string | undefined;
  /** Files in PEM: who signs the certificates of NATS, this node's own, and its key. */
  natsTlsCa: string | undefined;
  natsTlsCert: string | undefined;
  natsTlsKey: string | undefined;
  /** What all that the cluster has in NATS begins with: the same on all of its nodes. */
  cluster: string;
  /** How many NATS servers keep a copy of the cluster's log and snapshots. Said when the cluster is made. */
  clusterReplicas: number;
  /** Messages of the cluster's log older than this go, in ms. By default the log is kept as far back as the snapshots need. */
  clusterRetainAgeMs: number | undefined;
  /** Bytes of the cluster's log past which its oldest messages go. */
  clusterRetainBytes: number | undefined;
  /** A snapshot is due after this long, in ms, if anything was applied since the last, */
  snapshotEveryMs: number;
  /** and after so many commands. */
  snapshotCommands: number;
}

export const defaults: BrokerOptions = {
  host: "127.0.0.1",
  port: 5252,
  backlog: 4_096,
  operatorPort: undefined,
  operatorHost: undefined,
  metricsShareMs: 1_000,
  data: "./data",
  newEpoch: false,
  sameEpoch: false,
  authSecret: undefined,
  jwks: undefined,
  issuer: undefined,
  audience: undefined,
  authSecretFile: undefined,
  userClaim: undefined,
  scopeClaim: undefined,
  maxTokenAgeMs: undefined,
  logLevel: "info",
  sync: "always",
  workers: 0,
  node: "whalesong",
  acceptClock: false,
  retainAgeMs: undefined,
  retainCount: undefined,
  maxStoreBytes: undefined,
  minFreeBytes: 67_108_864,
  userRate: 50,
  userBurst: 500,
  userBytes: 32_768,
  userBytesBurst: 8_388_608,
  userReadRate: 20_000,
  userReadBurst: 200_000,
  connectionRate: 500,
  connectionBurst: 2_000,
  maxConnections: undefined,
  maxUserConnections: 100,
  maxAddressConnections: undefined,
  helloTimeoutMs: 10_000,
  noProgressMs: 60_000,
  pingMs: 30_000,
  cursorMs: 15_000,
  drainMs: 5_000,
  corsOrigins: [],
  compress: false,
  nats: undefined,
  natsCreds: undefined,
  natsToken: undefined,
  natsTlsCa: undefined,
  natsTlsCert: undefined,
  natsTlsKey: undefined,
  cluster: "whalesong",
  clusterReplicas: 1,
  clusterRetainAgeMs: undefined,
  clusterRetainBytes: undefined,
  snapshotEveryMs: 3_600_000,
  snapshotCommands: 1_000_000,
};

/** An option that cannot be used; the message names it and the mend. */
export class OptionsError extends Error {
  override readonly name = "OptionsError";
}

const day = 86_400_000;

/** What numbers may be, in the units that their names end in. */
const ranges: Partial<Record<keyof BrokerOptions, [least: number, most: number]>> = {
  port: [0, 65_535],
  backlog: [1, 65_535],
  operatorPort: [0, 65_535],
  metricsShareMs: [0, 60_000],
  workers: [0, 64],
  maxTokenAgeMs: [1_000, 3_650 * day],
  retainAgeMs: [1, Number.MAX_SAFE_INTEGER],
  retainCount: [1, Number.MAX_SAFE_INTEGER],
  userRate: [0.001, 1e9],
  userBurst: [1, 1e9],
  userBytes: [0.001, 1e12],
  userBytesBurst: [1, 1e12],
  userReadRate: [0.001, 1e12],
  userReadBurst: [1, 1e12],
  connectionRate: [0.001, 1e9],
  connectionBurst: [1, 1e9],
  maxConnections: [1, 1e7],
  maxUserConnections: [1, 1e7],
  maxAddressConnections: [1, 1e7],
  helloTimeoutMs: [100, day],
  noProgressMs: [1_000, day],
  pingMs: [1_000, day],
  cursorMs: [10, day],
  drainMs: [0, 3_600_000],
  clusterReplicas: [1, 5],
  clusterRetainAgeMs: [60_000, Number.MAX_SAFE_INTEGER],
  clusterRetainBytes: [1_048_576, Number.MAX_SAFE_INTEGER],
  snapshotEveryMs: [1_000, 365 * day],
  snapshotCommands: [1, Number.MAX_SAFE_INTEGER],
};

/** Completes and checks options. @throws OptionsError */
export function checkOptions(given: Partial<BrokerOptions>): BrokerOptions {
  const options: BrokerOptions = { ...defaults };
  for (const [name, value] of Object.entries(given)) {
    if (!(name in defaults)) throw new OptionsError(`${name}: there is no such option`);
    if (value !== undefined) Object.assign(options, { [name]: value });
  }
  if (options.nats !== undefined && given.node === undefined) options.node = `${hostname()}-${options.port}`;
  for (const [name, [least, most]] of Object.entries(ranges) as [keyof BrokerOptions, [number, number]][]) {
    const value = options[name] as number | undefined;
    if (value !== undefined && !(value >= least && value <= most)) {
      throw new OptionsError(`${name}: from ${least} to ${most}; got ${value}`);
    }
  }
  if (!Number.isInteger(options.workers))
    throw new OptionsError(`workers: a whole number; got ${options.workers}`);
  if (options.operatorHost !== undefined && options.operatorPort === undefined)
    throw new OptionsError("operatorHost: it is the address of --operator-port, which is missing");
  for (const origin of options.corsOrigins) checkOrigin(origin);
  const ways = [options.authSecret, options.authSecretFile, options.jwks];
  if (ways.filter((way) => way !== undefined).length > 1) {
    throw new OptionsError(
      "authSecret, authSecretFile, jwks: tokens are checked by one or the other, not by several",
    );
  }
  if (options.jwks !== undefined) checkKeySource(options.jwks);
  if (!/^[a-z][a-z0-9_-]{0,31}$/.test(options.cluster)) {
    throw new OptionsError(
      `cluster: up to 32 of a-z, 0-9, _ and -, the first a letter; got ${JSON.stringify(options.cluster)}`,
    );
  }
  if (options.newEpoch && options.sameEpoch) {
    throw new OptionsError(
      "newEpoch, sameEpoch (--new-epoch, --same-epoch): the epoch changes at this start, or stays; choose one",
    );
  }
  if (options.nats !== undefined && (options.newEpoch || options.sameEpoch)) {
    throw new OptionsError(
      `${options.newEpoch ? "newEpoch" : "sameEpoch"}: in a cluster the epoch is that of its log; leave it out`,
    );
  }
  if (options.nats !== undefined && options.sync === "periodic") {
    throw new OptionsError(
      "sync: in a cluster an answer waits for NATS, not for this disk: leave out --sync periodic",
    );
  }
  if (isOpenMode(options) && !isLoopback(options.host)) {
    throw new OptionsError(
      `host: ${options.host} is not a loopback address, and without --auth-secret or --jwks whoever connects says who they are; ` +
        "set one of them, or listen on 127.0.0.1",
    );
  }
  return options;
}

/** Origins are compared as text, so one that no browser would send is refused: it would let nobody in. @throws OptionsError */
function checkOrigin(origin: string): void {
  if (origin === "*" || origin === "null" || origin === originOf(origin)) return;
  const meant = originOf(origin.trim());
  const mend = meant === undefined ? "" : `; browsers send it as ${meant}`;
  throw new OptionsError(
    `corsOrigins: ${JSON.stringify(origin)} is no origin${mend}; one looks like https://example.com:8443 or capacitor://localhost, or is null (pages without a name), or * (any)`,
  );
}

/** The origin of an address as browsers send it: scheme://host[:port]. */
function originOf(address: string): string | undefined {
  if (!URL.canParse(address)) return undefined;
  const { origin, protocol, host } = new URL(address);
  // Schemes that are not the web's have no origin by the URL standard; apps and extensions send their scheme and host.
  const said = origin === "null" ? `${protocol}//${host.toLowerCase()}` : origin;
  return /^[a-z][a-z0-9+.-]*:\/\/(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d+)?$/.test(said) || said === "file://"
    ? said
    : undefined;
}

/** Whoever can change the keys on their way can make tokens. @throws OptionsError */
function checkKeySource(source: string): void {
  if (!/^http:/i.test(source) || !URL.canParse(source)) return;
  const host = new URL(source).hostname.replace(/^\[|\]$/g, "");
  if (isLoopback(host)) return;
  throw new OptionsError(
    `jwks: ${source}: over http: whoever is on the way can put keys of their own there; use https:, a file, or a server on 127.0.0.1`,
  );
}

/** Without a way to check tokens whoever connects says who they are. */
export function isOpenMode(options: Pick<BrokerOptions, "authSecret" | "authSecretFile" | "jwks">): boolean {
  const { authSecret, authSecretFile, jwks } = options;
  return authSecret === undefined && authSecretFile === undefined && jwks === undefined;
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

/** Whether nobody but this machine reaches what listens there. */
export function isLoopback(host: string): boolean {
  const family = isIP(host);
  return family === 0 ? host === "localhost" : loopback.check(host, family === 6 ? "ipv6" : "ipv4");
}
