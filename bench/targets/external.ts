/* A Whalesong broker that runs already, by its URL.
 *
 * On this machine its process is found by the port it listens on, and looked at like one of ours. Elsewhere it is asked
 * at `/metrics`; where that cannot be read its CPU and memory stay unknown. Nothing of it is changed but what the load
 * itself does: users whose names begin with the run's own. */

import { readFileSync, readdirSync, readlinkSync } from "node:fs";

import { splitUrls } from "../../clients/core/options.ts";
import type { DialectRef } from "../load/dialect.ts";
import { readCounter, readHealth } from "./metrics.ts";
import { canSeeProcesses } from "./processes.ts";
import type { Health, Running, Target } from "./target.ts";
import { addressOf, whalesongDialect } from "./whalesong-dialect.ts";
import { whalesongAbilities } from "./whalesong.ts";

export interface ExternalOptions {
  /** ws(s) or http(s). */
  url: string;
  /** With the scope `backend`; none in open mode. */
  token: string | undefined;
  /** Readers ask for compression, and insist on it. @default false */
  deflate?: boolean;
}

const findTimeoutMs = 10_000;
const loopbackHosts = new Set(["127.0.0.1", "localhost", "::1"]);

export class External implements Target {
  readonly name = "whalesong";
  readonly version: string;
  readonly abilities = whalesongAbilities;
  readonly #options: ExternalOptions;

  /** @param version as the broker says; "" where it does not */
  constructor(options: ExternalOptions, version = "") {
    this.#options = options;
    this.version = version;
  }

  /** Looks whether a broker is there. @throws that none is, or that it does not let us */
  static async find(options: ExternalOptions): Promise<External> {
    if (!URL.canParse(options.url) || splitUrls(options.url).length !== 1) {
      throw new Error(`--url: one broker is measured, like ws://127.0.0.1:5252; got "${options.url}"`);
    }
    const address = new URL("/healthz", options.url.replace(/^ws/, "http"));
    let version: string | undefined;
    try {
      const response = await fetch(address, { signal: AbortSignal.timeout(findTimeoutMs) });
      if (!response.ok) throw new Error(`it answered ${response.status} to GET ${address.pathname}`);
      ({ version } = (await response.json()) as { version?: string });
    } catch (cause) {
      const { message } = ((cause as Error).cause ?? cause) as Error;
      throw new Error(`no Whalesong broker at ${options.url}: ${message}`, { cause });
    }
    await External.#checkRights(options);
    return new External(options, version);
  }

  /** Reads as a user who is not the token's own. @throws that the broker does not let us */
  static async #checkRights({ url, token }: ExternalOptions): Promise<void> {
    const path = token === undefined ? "/v1/users/bench/home?user=bench" : "/v1/users/bench/home";
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const signal = AbortSignal.timeout(findTimeoutMs);
    const response = await fetch(new URL(path, url.replace(/^ws/, "http")), { headers, signal });
    const { error } = (await response.json()) as { error?: { code: string; message: string } };
    if (error !== undefined) {
      throw new Error(
        `the broker at ${url} refuses: ${error.code}: ${error.message}; give --token one with the scopes read, write and backend`,
      );
    }
  }

  async start(): Promise<Running> {
    return new RunningExternal(this.#options);
  }
}

class RunningExternal implements Running {
  readonly mostReaders = undefined;
  readonly healthUrl: string | undefined;
  readonly #options: ExternalOptions;
  readonly #pids: number[];

  constructor(options: ExternalOptions) {
    this.#options = options;
    const { host, port, tls } = addressOf(options.url);
    this.#pids = loopbackHosts.has(host) ? listenersOf(port) : [];
    if (tls !== true) this.healthUrl = new URL("/healthz", options.url.replace(/^ws/, "http")).href;
  }

  dialect(run: string): DialectRef {
    return whalesongDialect({ ...this.#options, prefix: run });
  }

  pids(): number[] {
    return this.#pids;
  }

  health(): Promise<Health | undefined> {
    return readHealth(this.#options.url, this.#options.token);
  }

  counter(name: string): Promise<number | undefined> {
    return readCounter(this.#options.url, this.#options.token, name);
  }

  async stop(): Promise<void> {
    // It is not ours.
  }
}

/** The processes of this machine that listen on a TCP port, of those that this user may look into. */
export function listenersOf(port: number): number[] {
  if (!canSeeProcesses) return [];
  const sockets = new Set(["tcp", "tcp6"].flatMap((table) => listeningSockets(table, port)));
  if (sockets.size === 0) return [];
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && hasOpen(pid, sockets));
}

/** From lines `sl local_address rem_address st … inode`, addresses and states in hexadecimal; 0A is listening. */
function listeningSockets(table: string, port: number): string[] {
  const ending = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  let text: string;
  try {
    text = readFileSync(`/proc/net/${table}`, "utf8");
  } catch {
    return [];
  }
  return text.split("\n").flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    return fields[3] === "0A" && fields[1]?.endsWith(ending) === true ? [`socket:[${fields[9]}]`] : [];
  });
}

function hasOpen(pid: number, names: ReadonlySet<string>): boolean {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((file) => names.has(linkOf(`${folder}/${file}`)));
  } catch {
    return false; // another user's, or it has ended
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
