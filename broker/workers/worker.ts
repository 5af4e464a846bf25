/* Worker: a front over the store that another process writes.
 *
 *   create ──> store opened to read ──[opened]──> all of that durable ──[serving]──> connections ──[drain]──> gone
 */

import type { Socket } from "node:net";

import { Front, createAuthenticator } from "../front.ts";
import { type Logger, createLogger } from "../logger.ts";
import { type Metrics, createMetrics } from "../metrics.ts";
import type { BrokerOptions } from "../options.ts";
import { SharedScrape } from "../shared-scrape.ts";
import { type Entry, type Offset, State, whenReaderIdIsFree } from "../state/index.ts";
import type { CoreLink } from "./core-link.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import { RemoteIntake } from "./remote-intake.ts";
import { RemoteLog } from "./remote-log.ts";

/** Offsets heard, or ms gone by, after which it says how far it is. */
const standingOffsets = 1_024;
const standingMs = 20;

interface Parts {
  link: CoreLink;
  logger: Logger;
  state: State;
  log: RemoteLog;
  intake: RemoteIntake;
  metrics: Metrics;
  front: Front;
}

export class Worker {
  readonly #parts: Parts;
  #isServing = false;
  #heardTold: Offset;
  #isBehindTold = false;
  #ended = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #onEnded = (): void => {
    this.#ended++;
    this.#stand();
  };

  static async create(link: CoreLink, number: number, options: BrokerOptions): Promise<Worker> {
    const logger = createLogger(options.logLevel, number);
    const authenticator = await createAuthenticator(options, logger);
    const metrics = createMetrics({});
    await whenReaderIdIsFree(options.data);
    const state = State.openReader(options.data);
    // What is made of the state and of where the log begins is made in one stretch, of one snapshot.
    const after = state.applied();
    state.refresh();
    state.takeEntries(after, Number.MAX_SAFE_INTEGER);
    const log = new RemoteLog(state, {
      after,
      send: (message) => link.send(message),
      reach: (offset) => link.ask("reach", offset),
      listener: (entries, durable) => worker.#hear(entries, durable),
    });
    const intake = new RemoteIntake({
      log,
      send: (message) => link.send(message),
      take: async (user) => void (await link.ask("take", user)),
      now: () => performance.now(),
    });
    const scrape = new SharedScrape(() => link.ask("metrics", null), options.metricsShareMs);
    const front = await Front.create({
      options,
      logger,
      state,
      log,
      intake,
      cursors: link,
      authenticator,
      metrics,
      connections: { most: Infinity, excess: "open_files" }, // the first process hands over no more than fit
      readiness: async () => (await link.ask("readiness", null)) ?? undefined,
      metricsText: () => scrape.text(),
    });
    const worker: Worker = new Worker({ link, logger, state, log, intake, metrics, front }, after);
    link.send(["opened", after]);
    return worker;
  }

  private constructor(parts: Parts, after: Offset) {
    this.#parts = parts;
    this.#heardTold = after;
  }

  receive(message: ToWorker): void {
    const { link, log, intake } = this.#parts;
    switch (message[0]) {
      case "durable":
        log.advance(message[1], message[2]);
        if (!this.#isServing) this.#serve(); // the first says that all it has opened is durable
        break;
      case "refused":
        if (message[1] > 0) log.refuse(message[1], message[2]);
        else link.refuse(message[1], message[2]);
        break;
      case "answer":
        link.answer(message[1], message[2]);
        break;
      case "hold":
        intake.hold(message[1], message[2]);
        break;
      case "tell figures":
        void this.#tellFigures(message[1]);
        break;
      case "say hello":
        this.#stand(true);
        break;
      case "drain":
        void this.#drain(message[1]);
        break;
      case "start":
    }
  }

  /** A message could not be sent: the request that it was for fails, and it alone. @throws `error` when it was for none */
  unsendable(message: FromWorker, error: unknown): void {
    const { link, log } = this.#parts;
    if (message[0] === "append") log.fail(message[1], error);
    else if (message[0] === "ask") link.fail(message[1], error);
    else throw error;
  }

  /** Takes over a connection; undefined when it ended on its way. */
  accept(socket: Socket | undefined): void {
    if (socket === undefined) {
      this.#onEnded();
      return;
    }
    socket.on("close", this.#onEnded);
    socket.allowHalfOpen = true; // as those are that an HTTP server accepts itself
    this.#parts.front.http.server.emit("connection", socket);
    socket.resume(); // it was paused for the journey
  }

  #serve(): void {
    const { front, link, logger } = this.#parts;
    this.#isServing = true;
    front.start();
    // Its connections are handed to it, and it watches over their timeouts from when it listens.
    front.http.server.emit("listening");
    link.send(["serving"]);
    logger.debug({ pid: process.pid }, "worker serves");
  }

  #hear(entries: Entry[], durable: Offset): void {
    this.#parts.front.publish(entries, durable);
    this.#stand();
  }

  /** Says how it stands: at once when that matters, else before long. */
  #stand(isAsked = false): void {
    const { log, front } = this.#parts;
    const { isBehind } = front.streams;
    const isDue = isBehind !== this.#isBehindTold || log.durable - this.#heardTold >= standingOffsets;
    if (isDue || isAsked) this.#tellStanding(isBehind);
    else this.#timer ??= setTimeout(() => this.#tellStanding(front.streams.isBehind), standingMs);
  }

  #tellStanding(isBehind: boolean): void {
    const { link, log } = this.#parts;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#heardTold = log.durable;
    this.#isBehindTold = isBehind;
    link.send(["standing", log.durable, isBehind, this.#ended]);
    this.#ended = 0;
    if (isBehind) this.#stand(); // that it is so no longer is to be told, too
  }

  async #tellFigures(ticket: number): Promise<void> {
    const { link, metrics } = this.#parts;
    link.send(["figures", ticket, await metrics.figures()]);
  }

  async #drain(ms: number): Promise<void> {
    const { front, link, log, state } = this.#parts;
    await front.drain(ms);
    await log.close();
    await front.streams.settled();
    await front.close();
    await state.close();
    await link.close();
    process.exit(0);
  }
}
