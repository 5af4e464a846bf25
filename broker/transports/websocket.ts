/* WebSocket transport: sockets to sessions.
 *
 * `ws` does the handshake and reads; what is sent are ready frames, written to the socket that the upgrade handed over.
 * All of a client's state hangs on its socket object, and what happens to it is told to shared functions: an idle
 * connection must be small, and a listener, a closure or a Map of its own takes 100 to 250 bytes.
 * No policy here: who may do what is the session's. */

import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";
import { WebSocket, WebSocketServer } from "ws";

import {
  type CodecName,
  WhalesongError,
  checkDevice,
  closeCodes,
  decode,
  limits,
  subprotocols,
} from "../../protocol/index.ts";
import type { Authenticator, Connection, Principal, Session, Sessions } from "../sessions/index.ts";
import { type OnCompressed, acceptableOffer, deflatingEncoders, perMessageDeflate } from "./compression.ts";
import { credentialsOf } from "./credentials.ts";
import { refuseAndEnd } from "./farewell.ts";
import { checkOpenModeOrigin } from "./origins.ts";
import { type Query, parseQuery, valueOf } from "./query.ts";
import { isAnswering } from "./turns.ts";
import { type WebSocketEncoder, encoders, pingFrame } from "./websocket-frames.ts";

const path = "/v1/ws";
/** How long clients may be pinged in one turn of the event loop, in ms, */
const pingSliceMs = 5;
/** and how many are between two looks at the clock. */
const pingStride = 16;
/** Times of pings are kept in units of so many ms: small numbers, which take no memory of their own. */
const pingUnitMs = 100;
/** How long after the broker's close frame a connection may stay, in ms. */
const closingMs = 2_000;
/** Reads of the network that one frame may be spread over: a small one costs as much memory as a large one. */
const mostChunks = 256;
/** Options of `ws`; its types do not know them all yet. */
const messageBounds = {
  maxFragments: limits.fragments,
  maxBufferedChunks: mostChunks,
  closeTimeout: closingMs,
};

export interface WebSocketParts {
  server: Server;
  sessions: Sessions;
  authenticator: Authenticator;
  /** Pages of other origins that may connect in open mode; `*` is any. */
  corsOrigins: string[];
  /** Clients that offer permessage-deflate get it. None do when this is missing. */
  compression?: { onCompressed: OnCompressed } | undefined;
  /** How often each client is pinged. */
  pingMs: number;
  /** ms on a clock that does not jump. */
  now: () => number;
  onFault: (error: unknown) => void;
}

/** What a client asked for with its upgrade. */
interface Asked {
  request: IncomingMessage;
  query: Query;
}

/** The socket that an upgrade handed over, with what reads from it. */
type RawSocket = Socket & { client: ClientSocket };

/** What `ws` keeps of a message that has not come whole: bytes of a frame, what is read next of it (0 between frames), and the
 * opcode of a message that has begun with a fragment (0 between messages). */
type Receiver = Record<"_bufferedBytes" | "_state" | "_fragmented", number>;

/** A client's socket: `ws` reads from it, its session writes through it. */
class ClientSocket extends WebSocket implements Connection {
  raw!: Socket;
  session!: Session;
  transport!: WebSocketTransport;
  encoder: WebSocketEncoder = encoders.json;
  /** Something came since the last ping, or what had waited for it was taken. */
  isAlive = true;
  /** When it was pinged last, or came. */
  pingedAt = 0;
  /** Its close is on the way, and `ws` sees to it that it ends in time. */
  #isClosing = false;

  /** Takes what `ws` has to tell there and then: nobody else listens. */
  override emit(event: string | symbol, ...told: unknown[]): boolean {
    switch (event) {
      case "message":
        if (this.readyState !== WebSocket.OPEN) return true; // closed by us: only the peer's own close is waited for
        this.isAlive = true;
        receive(this, told[0] as Buffer, told[1] as boolean); // one Buffer, unless `ws` is asked for something else
        return true;
      case "pong":
        this.isAlive = true;
        return true;
      case "close":
        this.transport.closed(this);
        return true;
      default:
        // "error" too: `ws` closes by itself on a frame that breaks the protocol or is too large (1002, 1007, 1009).
        return false;
    }
  }

  // `ws` has a property of this name too, which is not counted in what is written past it.
  get bufferedBytes(): number {
    return this.raw.writableLength;
  }

  write(bytes: Buffer): void {
    if (this.raw.writable) this.raw.write(bytes);
  }

  setReading(reading: boolean): void {
    if (this.readyState !== WebSocket.OPEN) return;
    if (reading) this.resume();
    else this.pause();
  }

  get isMidMessage(): boolean {
    if (this.isPaused) return false; // while it is not read, its peer cannot go on
    const { _receiver: receiver } = this as unknown as { _receiver: Receiver };
    const { _bufferedBytes: buffered, _state: state, _fragmented: fragmented } = receiver;
    return buffered > 0 || state !== 0 || fragmented !== 0;
  }

  override close(code?: number, reason?: string | Buffer): void {
    // Its peer ended its side without a close frame: `ws` would wait until it takes what is left, which may be never.
    if (this.readyState === WebSocket.CLOSING && !this.#isClosing) this.terminate();
    this.#isClosing = true;
    super.close(code, typeof reason === "string" ? shortened(reason) : reason);
  }
}

export class WebSocketTransport {
  readonly #parts: WebSocketParts;
  /** Those that came or were pinged longest ago first. */
  readonly #sockets = new Set<ClientSocket>();
  #onEmpty: (() => void) | undefined;
  readonly #acceptor: WebSocketServer;
  readonly #compressed: Record<CodecName, WebSocketEncoder> | undefined;

  constructor(parts: WebSocketParts) {
    this.#parts = parts;
    const { compression } = parts;
    this.#compressed = compression && deflatingEncoders(compression.onCompressed);
    this.#acceptor = new WebSocketServer({
      noServer: true,
      WebSocket: ClientSocket,
      clientTracking: false,
      maxPayload: limits.frameBytes,
      ...messageBounds,
      perMessageDeflate: compression !== undefined && perMessageDeflate,
      handleProtocols: firstServed,
    });
    this.#acceptor.on("wsClientError", ({ message }, socket) =>
      refuse(socket as Socket, 400, `upgrade: ${message}`, { "sec-websocket-version": "13" }),
    );
    parts.server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
      socket.on("error", destroy);
      this.#upgrade(request, socket, head);
    });
  }

  /** Pings clients whose time has come, as many as a slice allows, and ends those that answered nothing since the last time.
   * Called ten times a second or so: thousands pinged at once would keep posts waiting. True when more are due. */
  async ping(): Promise<boolean> {
    // Called late, after this process stood still, it would find answers not read yet: they are read in a turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
    const now = this.#pingTime();
    const due = now - Math.ceil(this.#parts.pingMs / pingUnitMs);
    const end = performance.now() + pingSliceMs;
    let done = 0;
    for (const socket of this.#sockets) {
      if (socket.pingedAt > due) return false;
      if (++done % pingStride === 0 && performance.now() >= end) return true;
      this.#ping(socket, now);
    }
    return false;
  }

  #ping(socket: ClientSocket, now: number): void {
    if (!socket.isAlive) {
      socket.close(closeCodes.idle_timeout, "no answer to a ping");
      socket.terminate();
      return;
    }
    this.#sockets.delete(socket);
    this.#sockets.add(socket);
    socket.pingedAt = now;
    // Behind what waits the ping would only queue: whether such a client reads at all is the session's to judge.
    socket.isAlive = socket.bufferedBytes > 0;
    if (!socket.isAlive) socket.write(pingFrame);
  }

  #pingTime(): number {
    return Math.floor(this.#parts.now() / pingUnitMs);
  }

  /** Waits until all clients have taken their last frames and closed, `graceMs` at most, and ends what is left. */
  async close(graceMs: number): Promise<void> {
    if (this.#sockets.size > 0) {
      await new Promise<void>((resolve) => {
        this.#onEmpty = resolve;
        setTimeout(resolve, graceMs).unref();
      });
    }
    for (const socket of this.#sockets) socket.terminate();
  }

  /** A client's connection has ended. */
  closed(client: ClientSocket): void {
    this.#sockets.delete(client);
    if (this.#sockets.size === 0) this.#onEmpty?.();
    client.session.closed();
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    if (isAnswering(socket)) {
      socket.destroy(); // the answer before would be written among frames
      return;
    }
    const url = URL.canParse(request.url ?? "", "http://broker")
      ? new URL(request.url ?? "", "http://broker")
      : undefined;
    if (url?.pathname !== path) {
      refuse(socket, 404, `WebSockets are served at ${path}`);
      return;
    }
    const { authenticator, corsOrigins } = this.#parts;
    if (authenticator.isOpen) {
      try {
        checkOpenModeOrigin(request, corsOrigins);
      } catch (error) {
        refuse(socket, 403, (error as Error).message);
        return;
      }
    }
    const offered = request.headers["sec-websocket-protocol"];
    if (
      offered !== undefined &&
      firstServed(new Set(offered.split(",").map((name) => name.trim()))) === false
    ) {
      refuse(socket, 400, `subprotocols served: ${Object.values(subprotocols).join(", ")}`);
      return;
    }
    let query: Query;
    try {
      query = parseQuery(request.url ?? "");
      deviceOf(query);
    } catch (error) {
      refuse(socket, 400, (error as Error).message);
      return;
    }
    if (this.#compressed !== undefined) narrowExtensions(request);
    this.#acceptor.handleUpgrade(request, socket, head, (client) =>
      this.#accept(client as ClientSocket, socket, { request, query }),
    );
  }

  #accept(client: ClientSocket, socket: Socket, asked: Asked): void {
    client.raw = socket;
    client.transport = this;
    const codec = client.protocol === subprotocols.msgpack ? "msgpack" : "json";
    client.encoder = (client.extensions === "" ? encoders : this.#compressed!)[codec];
    client.session = this.#parts.sessions.open(client);
    client.pingedAt = this.#pingTime();
    this.#sockets.add(client);
    (socket as RawSocket).client = client;
    socket.off("error", destroy); // `ws` listens now
    socket.on("drain", drained);
    this.#authenticate(client, asked);
  }

  /** Credentials that come with the upgrade make the session ready without a hello. */
  #authenticate(client: ClientSocket, { request, query }: Asked): void {
    const { authenticator, onFault } = this.#parts;
    let authenticating: Promise<Principal>;
    try {
      const credentials = credentialsOf(request, query);
      if (credentials.token === undefined && (credentials.user === undefined || !authenticator.isOpen))
        return;
      authenticating = authenticator.authenticate(credentials);
    } catch (error) {
      authenticating = Promise.reject(error);
    }
    client.session.greetWith(authenticating, deviceOf(query)).catch(onFault);
  }
}

/** The device that an upgrade names, checked as `hello`'s is; one that is empty names none. @throws `bad_request` */
function deviceOf(query: Query): string | undefined {
  const device = valueOf(query, "device");
  return device === undefined ? undefined : checkDevice(device);
}

function receive(client: ClientSocket, bytes: Buffer, isBinary: boolean): void {
  let frame: unknown;
  try {
    client.session.admit(bytes.length);
    frame = decode(client.encoder.codec, isBinary ? bytes : bytes.toString());
  } catch (error) {
    client.session.receiveBad(error as WhalesongError);
    return;
  }
  client.session.receive(frame, bytes.length);
}

function drained(this: Socket): void {
  const { client } = this as RawSocket;
  client.isAlive = true; // a ping may lie behind all that the kernel holds for a slow reader
  client.session.drained();
}

function destroy(this: Socket): void {
  this.destroy();
}

/** Leaves the one offer of compression that is taken, if any: `ws` would refuse a connection for one that it cannot take. */
function narrowExtensions({ headers }: IncomingMessage): void {
  const offered = headers["sec-websocket-extensions"];
  const taken = offered === undefined ? undefined : acceptableOffer(offered);
  if (taken === undefined) delete headers["sec-websocket-extensions"];
  else headers["sec-websocket-extensions"] = taken;
}

function firstServed(offered: Set<string>): string | false {
  for (const name of offered) {
    // Our own string, not the one that was sent: `ws` keeps it.
    if (name === subprotocols.json) return subprotocols.json;
    if (name === subprotocols.msgpack) return subprotocols.msgpack;
  }
  return false;
}

const refusalCodes = { 400: "bad_request", 403: "forbidden", 404: "not_found" } as const;

function refuse(
  socket: Socket,
  status: keyof typeof refusalCodes,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  refuseAndEnd(
    socket,
    `${status} Refused`,
    new WhalesongError(refusalCodes[status], message).toBody(),
    headers,
  );
}

/** A close frame's reason has 123 bytes at most. */
function shortened(reason: string): Buffer {
  const bytes = Buffer.from(reason);
  if (bytes.length <= 123) return bytes;
  let end = 123;
  while ((bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}
