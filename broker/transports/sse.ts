/* Server-Sent Events: a stream as an HTTP answer that goes on and on (WHATWG HTML, section 9.2).
 *
 *   id: CURSOR                       what Last-Event-ID resumes from; alone, it marks where the stream begins
 *   event: post | repost | delete | cursor | live
 *   data: {…}                        the event as over a WebSocket, without `sub`
 *
 *   retry: MS, event: goodbye        the broker stops: come back after so long
 *   event: end, data: {"event":"end","error":{…}}    it cannot go on; the answer ends
 *   :                                a comment now and then, so that proxies and clients see that it lives
 *
 * A reader cannot acknowledge on this way: it resumes by Last-Event-ID, or moves its device's cursor by PUT. */

import type { ServerResponse } from "node:http";

import {
  type EndEvent,
  type ErrorBody,
  type FieldsOf,
  type GoodbyeEvent,
  type StreamEvent,
  WhalesongError,
  closeCodes,
} from "../../protocol/index.ts";
import type { Connection, MessageEncoder, Principal, Sessions } from "../sessions/index.ts";
import { lingerMs } from "./farewell.ts";
import { takeLastTurn } from "./turns.ts";

/** How long a client waits before it comes back, unless a goodbye said otherwise, in ms. */
const retryMs = 2_000;
/** What a quiet stream is sent, so that proxies and clients see that it lives. */
const heartbeat = Buffer.from(":\n\n");

export interface StreamRequest {
  principal: Principal;
  fields: FieldsOf<"subscribe">;
  device: string | undefined;
  /** Headers of the answer, besides its own. */
  headers: Record<string, string | number | string[] | undefined>;
}

/** Of every answer that is a stream. */
export const streamHeaders = {
  "content-type": "text/event-stream",
  "cache-control": "no-store",
  "x-accel-buffering": "no", // nginx would hold it back
} as const;

/** An answer that ends at once, and brings an EventSource back: after any other status than 200 it never asks again. */
export function refusedStream(error: ErrorBody): string {
  const data = JSON.stringify({ event: "end", error } satisfies Omit<EndEvent, "sub">);
  return `retry: ${error.retryAfterMs ?? retryMs}\nevent: end\ndata: ${data}\n\n`;
}

/** All answers that go on. */
export class EventStreams {
  readonly #sessions: Sessions;
  readonly #open = new Set<SseConnection>();
  readonly #timer: NodeJS.Timeout;

  constructor(sessions: Sessions, heartbeatMs: number) {
    this.#sessions = sessions;
    this.#timer = setInterval(() => {
      for (const connection of this.#open) connection.beat();
    }, heartbeatMs);
    this.#timer.unref();
  }

  /** Begins to answer with a stream, which ends with its connection; that may have ended already. @throws WhalesongError while nothing has been written */
  async start(
    response: ServerResponse,
    { principal, fields, device, headers }: StreamRequest,
  ): Promise<void> {
    const { socket } = response.req;
    if (socket.destroyed || response.destroyed) return;
    const connection = new SseConnection(response);
    const session = this.#sessions.open(connection);
    const onClose = (): void => {
      socket.off("close", onClose);
      response.off("close", onClose);
      connection.ended();
      this.#open.delete(connection);
      session.closed();
    };
    // Node.js tells an answer of its connection's end only while it is the one being written.
    socket.on("close", onClose);
    response.on("close", onClose);
    response.on("error", () => {}); // `close` follows
    response.on("drain", () => session.drained());
    try {
      session.greet(principal, device);
      const { cursor } = await session.subscribe(fields);
      if (connection.ending !== undefined) throw connection.ending;
      if (socket.destroyed || response.destroyed) return;
      this.#open.add(connection);
      takeLastTurn(response.req);
      socket.setTimeout(0); // whether it takes anything is the session's to judge
      connection.begin(cursor, headers);
    } catch (error) {
      onClose();
      throw error;
    }
  }

  /** Ends what is still open. */
  close(): void {
    clearInterval(this.#timer);
    for (const connection of this.#open) connection.destroy();
  }
}

class SseConnection implements Connection {
  readonly encoder: MessageEncoder = {
    index: eventEncoder.index,
    encodeBody: eventEncoder.encodeBody,
    frame: eventEncoder.frame,
    encodeMessage: (message) => this.#encodeMessage(message),
  };
  readonly #response: ServerResponse;
  #hasBegun = false;
  #isEnded = false;
  #overdue: NodeJS.Timeout | undefined;
  #ending: WhalesongError | undefined;
  /** The bytes after which there is nothing more to say. */
  #last: Buffer | undefined;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  get bufferedBytes(): number {
    return this.#response.writableLength;
  }

  /** Why the session closed it, if it did before it began. */
  get ending(): WhalesongError | undefined {
    return this.#ending;
  }

  begin(cursor: string, headers: StreamRequest["headers"]): void {
    this.#hasBegun = true;
    this.#response.writeHead(200, {
      ...headers,
      ...streamHeaders,
    });
    this.#response.write(`retry: ${retryMs}\nid: ${cursor}\n\n`);
  }

  beat(): void {
    if (!this.#isEnded && this.bufferedBytes === 0) this.#response.write(heartbeat);
  }

  write(bytes: Buffer): void {
    // Before it has begun there can only be a goodbye, which an error stands for.
    if (!this.#hasBegun || this.#isEnded) return;
    this.#response.write(bytes);
    if (this.#last !== undefined && bytes.includes(this.#last)) this.#end();
  }

  get isMidMessage(): boolean {
    return false;
  }

  /** Nothing is read from this client once its request is. */
  setReading(): void {}

  close(code: number, reason: string): void {
    if (this.#isEnded) return;
    if (!this.#hasBegun) this.#ending = errorOf(code, reason);
    else if (code === closeCodes.no_progress) this.destroy();
    else {
      if (code !== closeCodes.draining) {
        const error = errorOf(code, reason).toBody();
        this.#response.write(this.#encodeMessage({ event: "end", error }));
      }
      this.#end();
    }
  }

  destroy(): void {
    this.#isEnded = true;
    this.#response.destroy();
  }

  /** The connection, or its answer, has ended. */
  ended(): void {
    this.#isEnded = true;
    clearTimeout(this.#overdue);
  }

  /** After what was written; who does not take that is cut off. */
  #end(): void {
    this.#isEnded = true;
    this.#response.end();
    this.#overdue = setTimeout(() => this.#response.destroy(), lingerMs);
  }

  /** A goodbye, or the end of the one subscription there is. */
  #encodeMessage(message: object): Buffer {
    const { event } = message as { event?: string };
    const data = `event: ${event ?? "message"}\ndata: ${JSON.stringify(withoutSub(message))}\n\n`;
    if (event === "goodbye") return Buffer.from(`retry: ${(message as GoodbyeEvent).reconnectMs}\n${data}`);
    const bytes = Buffer.from(data);
    if (event === "end") this.#last = bytes;
    return bytes;
  }
}

function withoutSub(message: object): object {
  const { sub: _, ...rest } = message as { sub?: number };
  return rest;
}

/** Why a session is closed, as an error. */
function errorOf(code: number, reason: string): WhalesongError {
  const isToken = code === closeCodes.token_expired || code === closeCodes.unauthenticated;
  return new WhalesongError(isToken ? "unauthenticated" : "unavailable", reason);
}

/** Events in the form of a stream, shared by all who read them. */
const eventEncoder = {
  index: 2, // beside the two of WebSockets
  encodeBody: (event: object): Buffer => Buffer.from(JSON.stringify(event)),
  frame: (body: Buffer, _sub: number, event: object): Buffer => {
    const { cursor, event: name } = event as StreamEvent;
    return Buffer.concat([Buffer.from(`id: ${cursor}\nevent: ${name}\ndata: `), body, Buffer.from("\n\n")]);
  },
} as const;
