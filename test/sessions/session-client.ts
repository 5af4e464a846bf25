/* SessionClient: one connection that speaks the protocol and nothing more.
 *
 * No reconnecting, no acknowledging, no dropping of repeats: what the broker sent is what a test sees. */

import { WebSocket } from "ws";

import {
  type CodecName,
  type ErrorBody,
  WhalesongError,
  decode,
  encode,
  subprotocols,
} from "../../protocol/index.ts";

export type Message = Record<string, unknown>;

export interface SessionClientOptions {
  user?: string;
  /** Said in `hello`, beside `user`. */
  token?: string;
  device?: string;
  /** @default "json" */
  codec?: CodecName;
  /** It leaves pings unanswered. */
  isMute?: boolean;
}

/** What one subscription was sent, in order of arrival. */
export interface Inbox {
  sub: number;
  /** Where delivery began, as the answer said. */
  start: string;
  events: Message[];
}

interface Waiter {
  isDone: () => boolean;
  resolve: () => void;
  reject: (error: Error) => void;
}

export class SessionClient {
  readonly socket: WebSocket;
  readonly codec: CodecName;
  /** Every message that is neither an answer to `request` nor a subscription's event. */
  readonly others: Message[] = [];
  /** How the connection ended. */
  readonly closed: Promise<{ code: number; reason: string }>;
  readonly #answers = new Map<number, { resolve: (ok: Message) => void; reject: (error: Error) => void }>();
  readonly #inboxes = new Map<number, Inbox>();
  #waiters: Waiter[] = [];
  #lastId = 0;
  #isClosed = false;

  /** Connects, and says hello when `user` is given. */
  static async open(url: string, options: SessionClientOptions = {}): Promise<SessionClient> {
    const { codec = "json", isMute = false, ...credentials } = options;
    const client = new SessionClient(url, codec, isMute);
    await new Promise<void>((resolve, reject) => {
      client.socket.once("open", () => resolve());
      client.socket.once("error", reject);
    });
    if (options.user !== undefined) await client.request("hello", credentials);
    return client;
  }

  private constructor(url: string, codec: CodecName, isMute: boolean) {
    this.codec = codec;
    this.socket = new WebSocket(`${url.replace(/^http/, "ws")}/v1/ws`, subprotocols[codec], {
      autoPong: !isMute,
    });
    this.socket.on("message", (data: Buffer, isBinary: boolean) => {
      this.#take(decode(codec, isBinary ? data : data.toString()) as Message);
    });
    this.socket.on("error", () => {});
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code: number, reason: Buffer) => {
        this.#isClosed = true;
        const error = new Error(`the connection closed with ${code} ${reason.toString()}`);
        for (const { reject } of this.#answers.values()) reject(error);
        for (const { reject } of this.#waiters.splice(0)) reject(error);
        resolve({ code, reason: reason.toString() });
      });
    });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Settles with what the answer has under `ok`. @throws WhalesongError for an answered error */
  request(op: string, fields: Message = {}): Promise<Message> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      if (this.#isClosed) {
        reject(new Error("the connection is closed"));
        return;
      }
      this.#answers.set(id, { resolve, reject });
      this.send({ id, op, ...fields });
    });
  }

  /** Sends any map as a frame. */
  send(message: Message): void {
    this.sendRaw(encode(this.codec, message));
  }

  /** Sends any frame: text for a string, binary for bytes. */
  sendRaw(frame: string | Uint8Array): void {
    this.socket.send(frame);
  }

  async subscribe(stream: string, fields: Message = {}): Promise<Inbox> {
    let sub = 1;
    while (this.#inboxes.has(sub)) sub++;
    const inbox: Inbox = { sub, start: "", events: [] };
    this.#inboxes.set(sub, inbox);
    try {
      const { cursor } = await this.request("subscribe", { stream, sub, ...fields });
      inbox.start = cursor as string;
      return inbox;
    } catch (error) {
      this.#inboxes.delete(sub);
      throw error;
    }
  }

  /** Subscribes and waits for the end of catch-up. */
  async subscribeLive(stream: string, fields: Message = {}): Promise<Inbox> {
    const inbox = await this.subscribe(stream, fields);
    await this.until(() => inbox.events.some(({ event }) => event === "live"));
    return inbox;
  }

  async unsubscribe(inbox: Inbox): Promise<void> {
    await this.request("unsubscribe", { sub: inbox.sub });
    this.#inboxes.delete(inbox.sub);
  }

  /** Settles once what was received makes `isDone` true; rejects when the connection ends before. */
  until(isDone: () => boolean): Promise<void> {
    if (isDone()) return Promise.resolve();
    if (this.#isClosed) return Promise.reject(new Error("the connection is closed"));
    return new Promise((resolve, reject) => this.#waiters.push({ isDone, resolve, reject }));
  }

  /** Ends the connection without a word. */
  terminate(): void {
    this.socket.terminate();
  }

  /** Ends it politely. */
  async close(): Promise<void> {
    this.socket.close(1000);
    await this.closed;
  }

  #take(message: Message): void {
    const { id, sub } = message;
    const answer = "event" in message ? undefined : this.#answers.get(id as number);
    const inbox = this.#inboxes.get(sub as number);
    if (answer !== undefined) {
      this.#answers.delete(id as number);
      if ("error" in message) answer.reject(WhalesongError.fromBody(message["error"] as ErrorBody));
      else answer.resolve(message["ok"] as Message);
    } else if ("event" in message && inbox !== undefined) inbox.events.push(message);
    else this.others.push(message);
    const done = this.#waiters.filter(({ isDone }) => isDone());
    if (done.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => !done.includes(waiter));
    for (const { resolve } of done) resolve();
  }
}

/** The number in a cursor or an id. */
export function offsetOf(position: unknown): number {
  const match = /^[0-9a-z]+-(\d+)$/.exec(String(position));
  if (match === null) throw new Error(`${JSON.stringify(position)} is no position`);
  return Number(match[1]);
}
