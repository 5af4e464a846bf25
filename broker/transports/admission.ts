/* Admission: which new connections are taken in, before anything is read of them.
 *
 * One too many is told so, as an answer of HTTP that any client shows, and ended. Few may wait to hear it: in a burst the others
 * are just closed. Neither costs a line in the log each: how many there were is said now and then, and counted in the metrics. */

import type { Socket } from "node:net";

import { WhalesongError } from "../../protocol/index.ts";
import type { Logger } from "../logger.ts";
import { refuseAndEnd } from "./farewell.ts";

/** Why a connection is refused: this process holds as many as its open files allow, the broker or one address as many as was chosen. */
export type Excess = "open_files" | "max_connections" | "address";

/** Refused connections that wait until their peers have read why. */
const mostLingering = 32;
/** How often refusals are said in the log, in ms. */
const logEveryMs = 10_000;
/** What a client is told to wait, in seconds. */
const retryAfter = "5";

export interface RefusalsParts {
  logger: Logger;
  /** A connection was refused. */
  onRefused: (excess: Excess) => void;
  /** ms on a clock that does not jump. @default performance.now */
  now?: () => number;
}

/** Refuses connections. */
export class Refusals {
  readonly #parts: RefusalsParts;
  readonly #now: () => number;
  #lingering = 0;
  #unsaid = 0;
  #saidAt = -Infinity;

  constructor(parts: RefusalsParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
  }

  /** Refused connections that have not ended. */
  get lingering(): number {
    return this.#lingering;
  }

  refuse(socket: Socket, excess: Excess, most: number): void {
    this.#parts.onRefused(excess);
    this.#say(excess, most);
    if (this.#lingering >= mostLingering) {
      socket.destroy();
      return;
    }
    this.#lingering++;
    socket.once("close", () => this.#lingering--);
    const [status, error] = refusalOf(excess, most);
    refuseAndEnd(socket, status, error.toBody(), { "retry-after": retryAfter });
  }

  /** A connection that came could not be taken, or told so: most likely files have run out. */
  failed(error: Error): void {
    this.#parts.onRefused("open_files");
    this.#say("open_files", undefined, error);
  }

  #say(excess: Excess, most?: number, err?: Error): void {
    this.#unsaid++;
    const now = this.#now();
    if (now - this.#saidAt < logEveryMs) return;
    this.#parts.logger.warn({ excess, most, refused: this.#unsaid, err }, "connections are refused");
    this.#saidAt = now;
    this.#unsaid = 0;
  }
}

function refusalOf(excess: Excess, most: number): [status: string, WhalesongError] {
  if (excess === "address") {
    const message = `there are ${most} connections from this address, which is the most here: close some first`;
    return ["429 Too Many Requests", new WhalesongError("rate_limited", message, { retryAfterMs: 5_000 })];
  }
  const message = `the broker has as many connections as it takes, ${most}: come back later, or go to another node`;
  return ["503 Service Unavailable", new WhalesongError("unavailable", message)];
}

export interface AdmissionLimits {
  /** Connections in all, and why no more. */
  most: number;
  excess: Excess;
  /** Connections from one address. */
  perAddress: number;
}

/** Counts connections, and takes in as many as the limits allow. */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #refusals: Refusals;
  /** By address; empty when they are not limited. */
  readonly #addresses = new Map<string, number>();
  #count = 0;
  readonly #onClose: (this: Socket) => void;

  constructor(limits: AdmissionLimits, refusals: Refusals) {
    this.#limits = limits;
    this.#refusals = refusals;
    const left = (socket: Socket): void => this.#left(socket);
    this.#onClose = function onClose() {
      left(this);
    };
  }

  /** Connections taken in that have not ended. */
  get count(): number {
    return this.#count;
  }

  /** Whether it is taken in; when not, it has been refused. */
  admit(socket: Socket): boolean {
    const { most, excess, perAddress } = this.#limits;
    if (this.#count >= most) {
      this.#refusals.refuse(socket, excess, most);
      return false;
    }
    if (perAddress !== Infinity) {
      const address = socket.remoteAddress ?? ""; // asked for now, the socket knows it at its end too
      const count = this.#addresses.get(address) ?? 0;
      if (count >= perAddress) {
        this.#refusals.refuse(socket, "address", perAddress);
        return false;
      }
      this.#addresses.set(address, count + 1);
    }
    this.#count++;
    socket.once("close", this.#onClose);
    return true;
  }

  #left(socket: Socket): void {
    this.#count--;
    if (this.#limits.perAddress === Infinity) return;
    const address = socket.remoteAddress ?? "";
    const count = this.#addresses.get(address)! - 1;
    if (count > 0) this.#addresses.set(address, count);
    else this.#addresses.delete(address);
  }
}
