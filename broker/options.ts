/* Options: what can be set, its default, its flag and its variable.
 *
 * Flags beat variables beat the config file beat the defaults. Everything is checked before anything is opened. */

import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { availableParallelism, hostname } from "node:os";

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
  /** A port of its own for `/healthz`, `/readyz` and `/metrics`, which the others' port answers too; 0 takes a free one. */
  operatorPort: number | undefined;
  /** The data folder; made when missing. */
  data: string;
  /** The secret that HS256 tokens are signed with, 32 bytes at least. */
  authSecret: string | undefined;
  /** A URL or a file with the public keys (JWKS) that RS256, ES256 or EdDSA tokens are signed with. */
  jwks: string | undefined;
  /** The `iss` that tokens must have. */
  issuer: string | undefined;
  /** The `aud` that tokens must have. */
  audience: string | undefined;
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
  /** Requests a second on one connection, and at once. */
  connectionRate: number;
  connectionBurst: number;
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
  /** Origins of browser pages that may use the broker besides its own; `*` is any. */
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
  data: "./data",
  authSecret: undefined,
  jwks: undefined,
  issuer: undefined,
  audience: undefined,
  logLevel: "info",
  sync: "always",
  workers: 0,
  node: "whalesong",
  retainAgeMs: undefined,
  retainCount: undefined,
  maxStoreBytes: undefined,
  minFreeBytes: 67_108_864,
  userRate: 50,
  userBurst: 500,
  connectionRate: 500,
  connectionBurst: 2_000,
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
  workers: [0, 64],
  retainAgeMs: [1, Number.MAX_SAFE_INTEGER],
  retainCount: [1, Number.MAX_SAFE_INTEGER],
  userRate: [0.001, 1e9],
  userBurst: [1, 1e9],
  connectionRate: [0.001, 1e9],
  connectionBurst: [1, 1e9],
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
  for (const origin of options.corsOrigins) {
    if (origin !== "*" && !(URL.canParse(origin) && new URL(origin).origin === origin)) {
      throw new OptionsError(
        `corsOrigins: ${JSON.stringify(origin)} is no origin; one looks like https://example.com:8443, or is *`,
      );
    }
  }
  if (options.authSecret !== undefined && options.jwks !== undefined) {
    throw new OptionsError("authSecret, jwks: tokens are checked by one or the other, not both");
  }
  if (!/^[a-z][a-z0-9_-]{0,31}$/.test(options.cluster)) {
    throw new OptionsError(
      `cluster: up to 32 of a-z, 0-9, _ and -, the first a letter; got ${JSON.stringify(options.cluster)}`,
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

/** Without a way to check tokens whoever connects says who they are. */
export function isOpenMode(options: Pick<BrokerOptions, "authSecret" | "jwks">): boolean {
  return options.authSecret === undefined && options.jwks === undefined;
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");

function isLoopback(host: string): boolean {
  const family = isIP(host);
  return family === 0 ? host === "localhost" : loopback.check(host, family === 6 ? "ipv6" : "ipv4");
}

const durations: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const sizes: Record<string, number> = {
  "": 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

/** `90s`, `12h`, `30d` as ms. */
export function parseDuration(text: string): number {
  const parts = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim());
  if (parts === null)
    throw new InvalidArgumentError("a duration is a number and ms, s, m, h or d, like 90s or 30d.");
  return Number(parts[1]) * durations[parts[2]!]!;
}

/** `500000`, `64MiB`, `10G` as bytes. */
export function parseBytes(text: string): number {
  const parts = /^(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?$/i.exec(text.trim());
  const unit = parts === null ? undefined : sizes[parts[2]!.toLowerCase()];
  if (parts === null || unit === undefined)
    throw new InvalidArgumentError("a size is a number of bytes, or with a unit, like 64MiB or 10G.");
  return Math.round(Number(parts[1]) * unit);
}

function parseCount(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("a whole number is needed.");
  return Number(text);
}

function parseYesNo(text: string): boolean {
  if (!/^(yes|no|true|false)$/.test(text)) throw new InvalidArgumentError("yes or no.");
  return text === "yes" || text === "true";
}

function parsePort(text: string): number {
  const port = parseCount(text);
  if (port > 65_535) throw new InvalidArgumentError("a port is a number from 0 to 65535.");
  return port;
}

const choicesOf: Partial<Record<keyof BrokerOptions, string[]>> = {
  logLevel: [...logLevels],
  sync: ["always", "periodic"],
};

/** The flags of `serve`. */
const flags: [name: keyof BrokerOptions, flag: string, text: string, parse?: (value: string) => unknown][] = [
  ["host", "--host <address>", "address to listen on"],
  ["port", "--port <number>", "port to listen on; 0 takes a free one", parsePort],
  [
    "operatorPort",
    "--operator-port <number>",
    "answer health checks and metrics on a port of its own, too",
    parsePort,
  ],
  ["backlog", "--backlog <number>", "connections that may wait until they are accepted", parseCount],
  ["data", "--data <folder>", "data folder"],
  ["authSecret", "--auth-secret <secret>", "secret of HS256 tokens, 32 bytes at least"],
  ["jwks", "--jwks <url or file>", "public keys of RS256, ES256 or EdDSA tokens"],
  ["issuer", "--issuer <iss>", "the iss that tokens must have"],
  ["audience", "--audience <aud>", "the aud that tokens must have"],
  ["logLevel", "--log-level <level>", logLevels.join(", ")],
  ["sync", "--sync <mode>", "answer when on disk (always), or when committed (periodic)"],
  [
    "workers",
    "--workers <number>",
    "processes that hold sessions; 0: none but this one (default: one for each core beyond the first)",
    parseCount,
  ],
  ["node", "--node <name>", "this node's name (in a cluster by default HOST-PORT)"],
  [
    "retainAgeMs",
    "--retain-age <duration>",
    "remove entries older than this, like 30d (default: keep all)",
    parseDuration,
  ],
  ["retainCount", "--retain-count <number>", "keep the newest so many entries (default: all)", parseCount],
  [
    "maxStoreBytes",
    "--max-store-bytes <size>",
    "refuse publishes past this size, like 50GiB (default: the disk)",
    parseBytes,
  ],
  ["minFreeBytes", "--min-free-bytes <size>", "leave so much of the disk free", parseBytes],
  ["userRate", "--user-rate <number>", "commands a second for one user", parseCount],
  ["userBurst", "--user-burst <number>", "commands at once for one user", parseCount],
  ["connectionRate", "--connection-rate <number>", "requests a second on one connection", parseCount],
  ["connectionBurst", "--connection-burst <number>", "requests at once on one connection", parseCount],
  ["helloTimeoutMs", "--hello-timeout <duration>", "time to say hello", parseDuration],
  [
    "noProgressMs",
    "--no-progress <duration>",
    "close a connection that takes nothing for so long",
    parseDuration,
  ],
  ["pingMs", "--ping <duration>", "how often connections are pinged", parseDuration],
  ["cursorMs", "--cursor-every <duration>", "how often quiet streams are told their cursor", parseDuration],
  ["drainMs", "--drain <duration>", "spread goodbyes over so long when stopping", parseDuration],
  [
    "corsOrigins",
    "--cors-origin <origins>",
    "origins of pages that may connect, by commas; * is any",
    (text) => text.split(","),
  ],
  [
    "compress",
    "--compress [yes or no]",
    "compress what is sent to WebSocket clients that ask for it",
    parseYesNo,
  ],
  [
    "nats",
    "--nats <urls>",
    "NATS servers, by commas, like nats://10.0.0.1:4222; with them a broker is a node of a cluster",
    (text) => text.split(","),
  ],
  ["natsCreds", "--nats-creds <file>", "credentials for NATS"],
  ["natsToken", "--nats-token <token>", "token for NATS"],
  ["natsTlsCa", "--nats-tls-ca <file>", "who signs the certificates of NATS, in PEM"],
  ["natsTlsCert", "--nats-tls-cert <file>", "this node's certificate for NATS, in PEM"],
  ["natsTlsKey", "--nats-tls-key <file>", "its key, in PEM"],
  ["cluster", "--cluster <name>", "the cluster's name in NATS: what its subjects begin with"],
  [
    "clusterReplicas",
    "--cluster-replicas <number>",
    "NATS servers that keep the log, when it is made",
    parseCount,
  ],
  [
    "clusterRetainAgeMs",
    "--cluster-retain-age <duration>",
    "remove messages of the log older than this (default: what two snapshots cover)",
    parseDuration,
  ],
  ["clusterRetainBytes", "--cluster-retain-bytes <size>", "keep so much of the log at most", parseBytes],
  ["snapshotEveryMs", "--snapshot-every <duration>", "upload a snapshot so often", parseDuration],
  ["snapshotCommands", "--snapshot-commands <number>", "and after so many commands", parseCount],
];

/** Adds the flags of `serve`, each with its variable `WHALESONG_…`, and `--config`. */
export function addServeOptions(command: Command): Command {
  addOptions(
    command,
    flags.map(([name]) => name),
  );
  return command.addOption(
    new Option(
      "--config <file>",
      'JSON file with the flags\' names as keys, e.g. {"port": 5252, "retain-age": "30d"}',
    ).env("WHALESONG_CONFIG"),
  );
}

/** Adds some of them, with their variables. */
export function addOptions(command: Command, names: readonly (keyof BrokerOptions)[]): Command {
  for (const [name, flag, text, parse] of flags) {
    if (!names.includes(name)) continue;
    const option = new Option(flag, text).env(variableOf(flag));
    option.attributeName = () => name;
    if (parse !== undefined) option.argParser(parse);
    if (option.optional) option.preset("yes");
    const choices = choicesOf[name];
    if (choices !== undefined) option.choices(choices);
    const preset = name === "workers" ? undefined : defaults[name];
    if (preset !== undefined && !Array.isArray(preset)) option.default(preset, describe(name, preset));
    command.addOption(option);
  }
  return command;
}

/** The options of a parsed `serve`: flags, variables, the config file, defaults. @throws OptionsError */
export function readServeOptions(command: Command): BrokerOptions {
  const config = command.getOptionValue("config") as string | undefined;
  const workers = availableParallelism() - 1;
  return checkOptions({ workers, ...(config === undefined ? {} : readConfig(config)), ...chosen(command) });
}

/** The options of a parsed command that has some of them; the others are as by default. @throws OptionsError */
export function readOptions(command: Command): BrokerOptions {
  return checkOptions(chosen(command));
}

/** What was said by flags and variables. */
function chosen(command: Command): Partial<BrokerOptions> {
  const said: Partial<BrokerOptions> = {};
  for (const [name] of flags) {
    const source = command.getOptionValueSource(name);
    if (source === undefined || source === "default") continue;
    Object.assign(said, { [name]: command.getOptionValue(name) as unknown });
  }
  return said;
}

function readConfig(file: string): Partial<BrokerOptions> {
  let values: Record<string, unknown>;
  try {
    values = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
  } catch (cause) {
    throw new OptionsError(`config ${file}: cannot be read as JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof values !== "object" || values === null || Array.isArray(values)) {
    throw new OptionsError(`config ${file}: a JSON map is needed, like {"port": 5252}`);
  }
  const options: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(values)) {
    const known = flags.find(([, flag]) => longName(flag) === key);
    if (known === undefined)
      throw new OptionsError(`config ${file}: there is no option ${JSON.stringify(key)}`);
    const [name, , , parse] = known;
    const text = Array.isArray(value) ? value.join(",") : String(value);
    try {
      options[name] = parse === undefined ? text : parse(text);
    } catch (cause) {
      throw new OptionsError(`config ${file}: ${key}: ${(cause as Error).message}`, { cause });
    }
    const choices = choicesOf[name];
    if (choices !== undefined && !choices.includes(text)) {
      throw new OptionsError(
        `config ${file}: ${key}: one of ${choices.join(", ")}; got ${JSON.stringify(text)}`,
      );
    }
  }
  return options;
}

function longName(flag: string): string {
  return flag.split(" ")[0]!.slice(2);
}

function variableOf(flag: string): string {
  return `WHALESONG_${longName(flag).toUpperCase().replaceAll("-", "_")}`;
}

function describe(name: keyof BrokerOptions, value: unknown): string {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return name.endsWith("Ms") ? `${Number(value) / 1000}s` : String(value);
}
