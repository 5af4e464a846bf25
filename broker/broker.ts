/* Broker: runs, and lets go gracefully.
 *
 *   alone         core (folder, state, log) ── front (streams, sessions, HTTP and WebSockets)
 *   with workers  core ── port and workers ══ in each worker process a front
 *
 *   starting ──> running ──stop──> stopped
 *                ^     │
 *                └─────┘ a node of a cluster that was away for too long lets its sessions go, and runs anew from a snapshot */

import { createAuthenticator } from "./front.ts";
import { type Logger, createLogger } from "./logger.ts";
import { type BrokerOptions, checkOptions, isOpenMode } from "./options.ts";
import { Life } from "./life.ts";
import { readSecret, warningsOf } from "./secrets.ts";
import type { Authenticator } from "./sessions/index.ts";

/** What a broker keeps from one life to the next. */
interface Parts {
  options: BrokerOptions;
  logger: Logger;
  authenticator: Authenticator;
}

interface End {
  resolve: () => void;
  reject: (error: unknown) => void;
}

export class Broker {
  readonly options: BrokerOptions;
  /** Settles when it has stopped; rejects when it could not go on by itself, and says why. */
  readonly ended: Promise<void>;
  readonly #parts: Parts;
  readonly #stopped = new AbortController();
  readonly #end: End;
  #life!: Life;
  #renewing: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;

  /** Starts a broker. A node of a cluster that has no data yet waits for NATS.
   *  @throws OptionsError, FolderError, or the error of a port that cannot be listened on */
  static async start(given: Partial<BrokerOptions> = {}): Promise<Broker> {
    const options = checkOptions(given);
    // Read once, here: workers that read it themselves could come to hold two secrets while it is changed.
    if (options.authSecretFile !== undefined) options.authSecret = readSecret(options.authSecretFile);
    const logger = createLogger(options.logLevel);
    for (const warning of warningsOf(options)) logger.warn(warning);
    const authenticator = await createAuthenticator(options, logger);
    const broker = new Broker({ options, logger, authenticator });
    await broker.#begin();
    return broker;
  }

  private constructor(parts: Parts) {
    this.#parts = parts;
    this.options = parts.options;
    let end: End | undefined;
    this.ended = new Promise<void>((resolve, reject) => {
      end = { resolve, reject };
    });
    this.ended.catch(() => {}); // who does not ask has it in the log
    this.#end = end!; // a promise's function runs at once
  }

  /** Where it listens: `http://127.0.0.1:5252`. WebSockets are at `/v1/ws`. */
  get url(): string {
    return this.#life.url;
  }

  /** Where operators may ask apart from all others, if that was chosen. */
  get operatorUrl(): string | undefined {
    return this.#life.operatorUrl;
  }

  /** The identity of its history. */
  get epoch(): string {
    return this.#life.core.state.positions.epoch;
  }

  /** What its operator should know of how the data were found: that they are a copy, or open to other users. */
  get notices(): readonly string[] {
    return this.#life.core.state.notices;
  }

  /** Whether it runs in open mode: whoever connects says who they are. */
  get isOpen(): boolean {
    return isOpenMode(this.options);
  }

  /** Lets all sessions go over `drainMs` (default: the option), writes all that was taken, releases the folder. */
  stop(drainMs = this.options.drainMs): Promise<void> {
    this.#stopping ??= this.#stop(drainMs);
    return this.#stopping;
  }

  async #begin(ports: Pick<BrokerOptions, "port" | "operatorPort"> = this.options): Promise<void> {
    const { options, ...parts } = this.#parts;
    this.#life = await Life.start(
      { ...options, port: ports.port, operatorPort: ports.operatorPort },
      { ...parts, onLost: () => this.#renew(), signal: this.#stopped.signal },
    );
    const { core } = this.#life;
    const { data, workers } = options;
    const head = core.state.applied();
    parts.logger.info(
      { url: this.url, data, epoch: this.epoch, head, open: this.isOpen, workers },
      "listening",
    );
  }

  /** At the same place: clients that know no other node find it again. */
  #renew(): void {
    if (this.#stopping !== undefined) return;
    this.#renewing = this.#startAnew().catch(async (error: unknown) => {
      if (this.#stopping !== undefined) return;
      this.#parts.logger.fatal({ err: error }, "the broker could not start anew");
      this.#stopping = Promise.resolve();
      this.#end.reject(error);
    });
  }

  async #startAnew(): Promise<void> {
    const { logger, options } = this.#parts;
    logger.warn(
      "the cluster's log went on without this node for too long: it lets its sessions go, and begins from a snapshot",
    );
    await this.#life.stop(options.drainMs);
    const { url, operatorUrl } = this.#life;
    await this.#begin({
      port: portOf(url),
      operatorPort: operatorUrl === undefined ? undefined : portOf(operatorUrl),
    });
  }

  async #stop(drainMs: number): Promise<void> {
    this.#stopped.abort(new Error("the broker is stopping"));
    await this.#renewing;
    await this.#life.stop(drainMs);
    this.#parts.logger.info("stopped");
    this.#end.resolve();
  }
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}
