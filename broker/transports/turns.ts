/* Turns: the requests of one HTTP connection, one after the other.
 *
 * A client of HTTP/1.1 may send requests before it has the answers. Node.js would begin them all at once and keep their answers in
 * memory until the first is taken. Here one is begun when the answer before it has been taken, or its connection is gone; the
 * others wait, and the connection is not read. Behind an answer that goes on and on (an event stream) none is begun at all. */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** Requests that wait on one connection; one more ends it. */
export const mostPipelined = 256;

const lines = new WeakMap<Socket, Line>();

/** Calls `begin` when it is this request's turn; never, when its connection ends before. */
export function takeTurn({ socket }: IncomingMessage, response: ServerResponse, begin: () => void): void {
  let line = lines.get(socket);
  if (line === undefined) lines.set(socket, (line = new Line(socket)));
  line.enter(response, begin);
}

/** The request whose turn it is will be the last of its connection: its answer has no end. */
export function takeLastTurn({ socket }: IncomingMessage): void {
  lines.get(socket)?.closeBehind();
}

/** Whether a request of this connection has not been answered in full. */
export function isAnswering(socket: Socket): boolean {
  return lines.get(socket)?.isBusy === true;
}

interface Waiting {
  response: ServerResponse;
  begin: () => void;
}

class Line {
  readonly #socket: Socket;
  readonly #onClose = (): void => this.#next();
  #waiting: Waiting[] = [];
  #isBusy = false;
  /** Requests that came behind the last one, if that has begun. */
  #behindLast: number | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get isBusy(): boolean {
    return this.#isBusy;
  }

  enter(response: ServerResponse, begin: () => void): void {
    if (!this.#isBusy) {
      this.#begin({ response, begin });
      return;
    }
    if (this.#behindLast !== undefined)
      this.#behindLast++; // read, so that the connection's end is seen, and dropped
    else {
      this.#waiting.push({ response, begin });
      this.#socket.pause();
    }
    if (this.#waiting.length > mostPipelined || (this.#behindLast ?? 0) > mostPipelined) {
      this.#waiting = [];
      this.#socket.destroy();
    }
  }

  closeBehind(): void {
    this.#behindLast = this.#waiting.length;
    this.#waiting = [];
    this.#socket.resume();
  }

  #begin({ response, begin }: Waiting): void {
    this.#isBusy = true;
    response.once("close", this.#onClose);
    begin();
  }

  #next(): void {
    this.#isBusy = false;
    if (this.#socket.destroyed || this.#socket.writableEnded) {
      this.#waiting = [];
      return;
    }
    if (this.#behindLast !== undefined) {
      // Node.js has the dropped ones in line still: nothing behind them could be answered.
      if (this.#behindLast > 0) this.#socket.destroySoon();
      this.#behindLast = undefined;
    }
    const next = this.#waiting.shift();
    if (next === undefined) return;
    if (this.#waiting.length === 0) this.#socket.resume();
    // Node.js reads on when it has done with a request; in the tick after that it is held back again.
    else process.nextTick(() => this.#holdBack());
    this.#begin(next);
  }

  #holdBack(): void {
    if (this.#waiting.length > 0) this.#socket.pause();
  }
}
