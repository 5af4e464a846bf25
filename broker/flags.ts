/* Flags: how the options of a broker are said.
 *
 * Each option has a flag, a variable `WHALESONG_…` and a key in the config file, all from one row of `flags`. Flags beat
 * variables beat the config file beat the defaults. */

import type { Command } from "commander";
import { InvalidArgumentError, Option } from "commander";
import { availableParallelism } from "node:os";

import { type BrokerOptions, OptionsError, checkOptions, defaults, logLevels } from "./options.ts";
import { fileWarnings, holdsPassword, secretOptions } from "./secrets.ts";
import { readTextSync } from "./text-file.ts";

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

function parseList(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
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
    "a port of its own for health checks, and for metrics, which are then told there alone",
    parsePort,
  ],
  ["operatorHost", "--operator-host <address>", "address of that port (default: --host)"],
  [
    "metricsShareMs",
    "--metrics-share <duration>",
    "give one scrape's metrics to all who ask within so long",
    parseDuration,
  ],
  ["backlog", "--backlog <number>", "connections that may wait until they are accepted", parseCount],
  ["data", "--data <folder>", "data folder"],
  [
    "newEpoch",
    "--new-epoch [yes or no]",
    "begin a new epoch at this start, as after a disk was put back to an earlier state",
    parseYesNo,
  ],
  [
    "sameEpoch",
    "--same-epoch [yes or no]",
    "keep the epoch at this start, though the data are a copy: nothing was answered since it was made",
    parseYesNo,
  ],
  ["authSecret", "--auth-secret <secret>", "secret of HS256 tokens, 32 bytes at least"],
  ["authSecretFile", "--auth-secret-file <file>", "a file with it, which others on the machine do not see"],
  ["jwks", "--jwks <url or file>", "public keys of RS256, ES256 or EdDSA tokens"],
  ["issuer", "--issuer <iss>", "the iss that tokens must have"],
  ["audience", "--audience <aud>", "the aud that tokens must have"],
  [
    "userClaim",
    "--user-claim <name>",
    "claim of the handle, like nickname or https://example.com/handle (default: sub)",
  ],
  [
    "scopeClaim",
    "--scope-claim <name>",
    "claim of the scopes, like realm_access.roles (default: scope, else scp)",
  ],
  [
    "maxTokenAgeMs",
    "--max-token-age <duration>",
    "tokens need an iat, and end so long after it",
    parseDuration,
  ],
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
    "acceptClock",
    "--accept-clock [yes or no]",
    "for one start: the clock is right now, though the newest command is later, or it has jumped",
    parseYesNo,
  ],
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
  ["userBytes", "--user-bytes <size>", "bytes of posts a second for one user", parseBytes],
  ["userBytesBurst", "--user-bytes-burst <size>", "bytes of posts at once for one user", parseBytes],
  ["userReadRate", "--user-read-rate <number>", "look-ups of reads a second for one user", parseCount],
  ["userReadBurst", "--user-read-burst <number>", "look-ups of reads at once for one user", parseCount],
  ["connectionRate", "--connection-rate <number>", "requests a second on one connection", parseCount],
  ["connectionBurst", "--connection-burst <number>", "requests at once on one connection", parseCount],
  [
    "maxConnections",
    "--max-connections <number>",
    "connections at once (default: what the limit of open files leaves room for)",
    parseCount,
  ],
  [
    "maxUserConnections",
    "--max-user-connections <number>",
    "of one user, to each process that holds sessions",
    parseCount,
  ],
  [
    "maxAddressConnections",
    "--max-address-connections <number>",
    "from one address, to each of them (default: not limited; behind a proxy all come from one)",
    parseCount,
  ],
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
    "origins of pages and apps that may connect, by commas; null: pages without a name; * is any",
    parseList,
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

/** Secrets that stand where others on the machine can read them, each with the mend: on the command line, or in a config file. */
export function exposedSecrets(command: Command): string[] {
  const warnings: string[] = [];
  for (const [name, flag] of flags) {
    if (command.getOptionValueSource(name) !== "cli" || !holdsSecret(name, command.getOptionValue(name)))
      continue;
    const mend = secretOptions[name] ?? `--nats-creds, or the variable ${variableOf(flag)}`;
    warnings.push(
      `--${longName(flag)}: everybody on this machine sees a command line, and the secret in it: use ${mend}`,
    );
  }
  const config = command.getOptionValue("config") as string | undefined;
  if (config === undefined) return warnings;
  const values = Object.entries(readConfig(config)) as [keyof BrokerOptions, unknown][];
  const isSecret = values.some(([name, value]) => holdsSecret(name, value));
  return isSecret ? [...warnings, ...fileWarnings("--config", config)] : warnings;
}

function holdsSecret(name: keyof BrokerOptions, value: unknown): boolean {
  return name === "nats" ? String(value).split(",").some(holdsPassword) : name in secretOptions;
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
    values = JSON.parse(readTextSync(file)) as Record<string, unknown>;
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
