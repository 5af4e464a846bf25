/* Workers: the processes that hold a broker's sessions, as the process that applies sees them.
 *
 *   port ──connection──> the worker with the fewest ──commands──> log ──durable──> all workers
 *
 * This process listens and hands each connection over, so that long-lived ones spread evenly and a worker that was replaced
 * soon has its share. No worker is handed more than it can hold open, and no more are on their way than this process can hold:
 * a socket that finds no room in a worker's open files is lost, and Node.js ends this process over it. The rest is refused. A worker that dies is replaced, at once the first time and later each time when it goes on
 * dying. Connections that come while none serves wait here. */

import { lookup } from "node:dns/promises";
import { type AddressInfo, type Server, type Socket, createServer } from "node:net";

import type { Service } from "../service.ts";
import type { Core } from "../core.ts";
import { connectionsThatFit, openFileLimit } from "../open-files.ts";
import { Periodic } from "../periodic.ts";
import { SharedScrape } from "../shared-scrape.ts";
import type { Offset } from "../state/index.ts";
import { Refusals } from "../transports/admission.ts";
import { Ledger } from "./ledger.ts";
import { Seat } from "./seat.ts";

/** How often workers are greeted, in ms. */
const checkMs = 1_000;
/** A worker that lives less than this has died young, in ms; then the next waits, from so long, up to so long. */
const youngMs = 10_000;
const leastWaitMs = 100;
const mostWaitMs = 10_000;
/** Connections that wait for a worker, or are on their way to one. */
const maxInHand = 10_000;
/** How long after its drain a worker may take to end, in ms. */
const endGraceMs = 5_000;

/** One worker's number, and who bears it at present. */
interface Post {
  readonly number: number;
  seat: Seat;
  startedAt: number;
  /** How often in a row it died young. */
  young: number;
}

export class Workers implements Service {
  readonly #core: Core;
  readonly #posts: Post[] = [];
  readonly #servers: Server[] = [];
  readonly #waiting: Socket[] = [];
  readonly #periodic: Periodic;
  readonly #ledger: Ledger;
  readonly #scrape: SharedScrape;
  readonly #refusals: Refusals;
  /** Connections that one worker can hold open, and that this process can until they are handed over. */
  readonly #fitting: number;
  readonly #inHandFitting: number;
  #isStopping = false;
  #onFirst: { serving: () => void; failed: (error: Error) => void } | undefined;

  constructor(core: Core) {
    this.#core = core;
    this.#periodic = new Periodic(core.logger);
    this.#ledger = new Ledger(core, () => this.#posts.map(({ seat }) => seat));
    this.#scrape = new SharedScrape(() => this.#ledger.text(), core.options.metricsShareMs);
    this.#refusals = new Refusals({
      logger: core.logger,
      onRefused: (excess) => this.#ledger.onConnectionRefused(excess),
    });
    const limit = openFileLimit(); // workers inherit it
    this.#fitting = connectionsThatFit(limit);
    this.#inHandFitting = Math.min(connectionsThatFit(limit, core.options.workers), maxInHand);
  }

  /** Starts them, and then listens. @throws the error of a port that cannot be listened on, or of a worker that cannot begin */
  async start(): Promise<void> {
    const { workers } = this.#core.options;
    await this.#bind();
    await new Promise<void>((resolve, reject) => {
      this.#onFirst = {
        serving: () => {
          if (this.#posts.every(({ seat }) => seat.isServing)) resolve();
        },
        failed: reject,
      };
      for (let number = 1; number <= workers; number++) {
        const post = { number, startedAt: 0, young: 0 } as Post;
        this.#fill(post); // throws, and so rejects, when there is none to be had
        this.#posts.push(post);
      }
    });
    this.#onFirst = undefined;
    this.#periodic.every(checkMs, () => {
      for (const { seat } of this.#posts) seat.check();
    });
  }

  /** Where it listens. */
  get address(): AddressInfo {
    return this.#servers[0]!.address() as AddressInfo;
  }

  metricsText(): Promise<string> {
    return this.#scrape.text();
  }

  countSessions(): Promise<number> {
    return this.#ledger.sessions();
  }

  publish(): void {
    for (const { seat } of this.#posts) seat.tell();
  }

  get isBehind(): boolean {
    return this.#posts.some(({ seat }) => seat.isBehind);
  }

  get heard(): Offset {
    let heard = Number.MAX_SAFE_INTEGER;
    for (const { seat } of this.#posts) if (seat.isOpened) heard = Math.min(heard, seat.heard);
    return heard;
  }

  /** The process ids of those that serve. */
  get pids(): number[] {
    return this.#posts.flatMap(({ seat }) => (seat.isServing ? [seat.pid!] : []));
  }

  /** Settles when all workers have ended. */
  async drain(drainMs: number): Promise<void> {
    this.#isStopping = true;
    this.#periodic.stop();
    for (const server of this.#servers) server.close();
    for (const socket of this.#waiting.splice(0)) socket.destroy();
    for (const { seat } of this.#posts) seat.drain(drainMs);
    const overdue = setTimeout(() => {
      this.#core.logger.warn("workers did not end in time and are killed");
      for (const { seat } of this.#posts) seat.kill();
    }, drainMs + endGraceMs);
    await Promise.all(this.#posts.map(({ seat }) => seat.ended));
    clearTimeout(overdue);
  }

  async close(): Promise<void> {}

  /** A name that stands for several addresses is listened on at all of them. */
  async #bind(): Promise<void> {
    const { host, port, backlog } = this.#core.options;
    const found = await lookup(host, { all: true, order: "ipv4first" });
    let chosen = port;
    for (const { address } of found) {
      const server = createServer({ pauseOnConnect: true, noDelay: true }, (socket) => this.#hand(socket));
      try {
        await new Promise<void>((resolve, reject) => {
          server.once("error", reject);
          server.listen({ host: address, port: chosen, backlog }, resolve);
        });
      } catch (error) {
        // As elsewhere: a host may have a name for an address that it does not have.
        if (this.#servers.length > 0) continue;
        throw error;
      }
      server.on("error", (error) => this.#refusals.failed(error));
      this.#servers.push(server);
      chosen = (server.address() as AddressInfo).port;
    }
  }

  #fill(post: Post): void {
    post.startedAt = performance.now();
    post.seat = new Seat({
      number: post.number,
      core: this.#core,
      metricsText: () => this.#scrape.text(),
      onServing: () => {
        this.#onFirst?.serving();
        for (const socket of this.#waiting.splice(0)) this.#hand(socket);
      },
      onOverRead: (user, waitMs) => {
        for (const { seat } of this.#posts) seat.hold(user, waitMs);
      },
      onEnd: (reason) => this.#replace(post, reason),
    });
  }

  #replace(post: Post, reason: string): void {
    this.#core.state.forgetDeadReaders();
    if (this.#isStopping) return;
    this.#onFirst?.failed(new Error(`worker ${post.number} could not begin: ${reason}`));
    if (this.#onFirst !== undefined) return;
    this.#ledger.retire(post.seat);
    this.#fillAgain(post, reason);
  }

  /** At once, or after a wait when it does not live long. */
  #fillAgain(post: Post, reason: string): void {
    post.young = performance.now() - post.startedAt < youngMs ? post.young + 1 : 0;
    const waitMs = post.young < 2 ? 0 : Math.min(leastWaitMs * 2 ** (post.young - 2), mostWaitMs);
    this.#core.logger.error(
      { worker: post.number, pid: post.seat.pid, reason, waitMs },
      "worker died; its sessions resume elsewhere, another takes its place",
    );
    setTimeout(() => {
      if (this.#isStopping) return;
      try {
        this.#fill(post);
      } catch (error) {
        this.#fillAgain(post, (error as Error).message);
      }
    }, waitMs).unref();
  }

  /** To the worker with the fewest connections, if there is room. */
  #hand(socket: Socket): void {
    const { maxConnections = Infinity } = this.#core.options;
    let best: Seat | undefined;
    let held = 0;
    let inHand = this.#waiting.length;
    let serving = 0;
    for (const { seat } of this.#posts) {
      held += seat.connections;
      inHand += seat.leaving;
      if (!seat.isServing) continue;
      serving++;
      if (best === undefined || seat.connections < best.connections) best = seat;
    }
    if (held + this.#waiting.length >= maxConnections)
      this.#refusals.refuse(socket, "max_connections", maxConnections);
    else if (inHand >= this.#inHandFitting) this.#refusals.refuse(socket, "open_files", this.#inHandFitting);
    else if (best === undefined) this.#waiting.push(socket);
    else if (best.connections >= this.#fitting)
      this.#refusals.refuse(socket, "open_files", this.#fitting * serving);
    else best.accept(socket);
  }
}
