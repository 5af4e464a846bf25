/* ScriptedBroker: a peer over a real socket whose every answer the test decides.
 *
 * For what a healthy broker seldom does: lost connections, refusals, repeats, silence, garbage. */

import { once } from "node:events";
import type { AddressInfo } from "node:net";

import { type WebSocket, WebSocketServer } from "ws";

import { type CodecName, decode, encode, subprotocols } from "../../protocol/codec.ts";
import { limits } from "../../protocol/limits.ts";

export interface Asked {
  id?: number;
  op: string;
  [field: string]: unknown;
}

/** One accepted socket. Requests queue up until the test takes them. */
export class Peer {
  readonly ws: WebSocket;
  readonly codec: CodecName;
  readonly path: string;
  readonly ended: Promise<{ code: number; reason: string }>;
  readonly #asked: Asked[] = [];
  readonly #takers: ((asked: Asked) => void)[] = [];

  constructor(ws: WebSocket, path: string) {
    this.ws = ws;
    this.path = path;
    this.codec = ws.protocol === subprotocols.msgpack ? "msgpack" : "json";
    this.ended = new Promise((resolve) =>
      ws.on("close", (code, reason) => resolve({ code, reason: reason.toString() })),
    );
    ws.on("error", () => undefined);
    ws.on("message", (data, isBinary) => {
      const frame = isBinary ? (data as Buffer) : (data as Buffer).toString();
      const asked = decode(this.codec, frame) as Asked;
      const taker = this.#takers.shift();
      if (taker === undefined) this.#asked.push(asked);
      else taker(asked);
    });
  }

  /** The next request, of whatever operation. */
  take(): Promise<Asked> {
    const asked = this.#asked.shift();
    return asked === undefined
      ? new Promise((resolve) => this.#takers.push(resolve))
      : Promise.resolve(asked);
  }

  /** The next request, which must be `op`. */
  async expect(op: string): Promise<Asked> {
    const asked = await this.take();
    if (asked.op !== op) throw new Error(`expected ${op}; got ${JSON.stringify(asked)}`);
    return asked;
  }

  /** Requests that came and were not taken. */
  get left(): readonly Asked[] {
    return this.#asked;
  }

  send(...messages: object[]): void {
    for (const message of messages) this.ws.send(encode(this.codec, message));
  }

  ok(asked: Asked, ok: object): void {
    this.send({ id: asked.id, ok });
  }

  refuse(asked: Asked, code: string, retryable: boolean, details: object = {}): void {
    this.send({ id: asked.id, error: { code, message: `scripted ${code}`, retryable, ...details } });
  }

  /** Takes `hello` and agrees. */
  async welcome(extra: object = {}): Promise<Asked> {
    const hello = await this.expect("hello");
    this.ok(hello, helloResult(extra));
    return hello;
  }

  /** Takes a `subscribe` and agrees; the stream begins at offset 0 unless told. */
  async agree(cursor = "e1-0"): Promise<Asked> {
    const asked = await this.expect("subscribe");
    this.ok(asked, { sub: asked["sub"], stream: asked["stream"], cursor });
    return asked;
  }

  /** Resolves when everything sent so far has been read by the client, and what it sent has arrived here. */
  async settled(): Promise<void> {
    const pong = once(this.ws, "pong");
    this.ws.ping();
    await pong;
  }
}

export class ScriptedBroker {
  readonly #server: WebSocketServer;
  readonly #peers: Peer[] = [];
  readonly #takers: ((peer: Peer) => void)[] = [];
  accepted = 0;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    server.on("connection", (ws, request) => {
      this.accepted++;
      const peer = new Peer(ws, request.url ?? "");
      const taker = this.#takers.shift();
      if (taker === undefined) this.#peers.push(peer);
      else taker(peer);
    });
  }

  static async start(port = 0): Promise<ScriptedBroker> {
    const server = new WebSocketServer({
      host: "127.0.0.1",
      port,
      handleProtocols: (offered) => [...offered][0] ?? false,
    });
    await once(server, "listening");
    return new ScriptedBroker(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** The next socket. */
  peer(): Promise<Peer> {
    const peer = this.#peers.shift();
    return peer === undefined ? new Promise((resolve) => this.#takers.push(resolve)) : Promise.resolve(peer);
  }

  async stop(): Promise<void> {
    for (const ws of this.#server.clients) ws.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export function helloResult(extra: object = {}): object {
  return {
    user: "alice",
    session: "s1",
    node: "n1",
    epoch: "e1",
    head: "e1-0",
    limits,
    scopes: ["read", "write"],
    ...extra,
  };
}

export function post(
  offset: number,
  text = `post ${offset}`,
): { event: "post"; cursor: string; post: object } {
  return {
    event: "post",
    cursor: `e1-${offset}`,
    post: { id: `p${offset}`, author: "bob", text, mentions: [], tags: [], at: 1_790_000_000_000 + offset },
  };
}
