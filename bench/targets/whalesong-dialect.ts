/* How a Whalesong broker is spoken to: `/v1/ws`, JSON.
 *
 * In open mode every connection says who it is. With a token (scope `backend`) they all have that token, and name whom
 * they act as in each request. Readers have the subscription number 1, as SDKs choose it, so that frames are shared. */

import { randomBytes } from "node:crypto";

import {
  type Address,
  type AnswerReader,
  type Dialect,
  type DialectRef,
  type PublisherScript,
  type ReaderRequest,
  type Script,
  type Step,
  fixedName,
} from "../load/dialect.ts";
import { inflatingDecoder } from "../load/inflating.ts";
import { FrameReader, maskedFrame } from "../load/websocket-frames.ts";

export interface WhalesongDialectOptions {
  /** http(s) or ws(s). */
  url: string;
  token: string | undefined;
  /** Put before all handles. */
  prefix: string;
  /** Readers ask for compression, and insist on it. @default false */
  deflate?: boolean;
}

const keepAlive = { send: maskedFrame(0xa, ""), everyMs: 20_000 };
const device = "bench";
const offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const upgraded = Buffer.from("\r\n\r\n");
const notUpgraded = Buffer.from(`"error"`);
const compressing = Buffer.from("permessage-deflate");
const live = Buffer.from(`{"sub":1,"event":"live"`);
const refused = Buffer.from(`"error":{`);
const answerHead = `{"id":`;

export function authorName(prefix: string, topic: number): string {
  return fixedName(`${prefix}a`, topic);
}

export function readerName(prefix: string, reader: number): string {
  return fixedName(`${prefix}r`, reader);
}

export function createDialect(options: WhalesongDialectOptions): Dialect {
  const { prefix, token, deflate = false } = options;
  const address = addressOf(options.url);
  const author = (topic: number): string => authorName(prefix, topic);
  const reader = (number: number): string => readerName(prefix, number);
  const upgrade = (user: string): Step => ({
    send: handshakeOf({ address, user, token, deflate: false }),
    until: upgraded,
    refusal: notUpgraded,
  });
  const compressedUpgrade = (user: string): Step => ({
    send: handshakeOf({ address, user, token, deflate: true }),
    until: compressing,
    refusal: upgraded,
    whenRefused: "the broker compresses nothing (serve --compress), or refused",
  });
  return {
    address,
    reader: ({
      reader: number,
      user: whose = number,
      from = "live",
      stream = "home",
    }: ReaderRequest): Script => {
      const user = reader(whose);
      const as = token === undefined ? {} : { as: user };
      const subscribe = JSON.stringify({ id: 1, op: "subscribe", sub: 1, stream, from, ...as });
      return {
        steps: [
          deflate ? compressedUpgrade(user) : upgrade(user),
          { send: maskedFrame(0x1, subscribe), until: live, refusal: refused },
        ],
        keepAlive,
        ...(deflate ? { decoder: inflatingDecoder } : {}),
      };
    },
    publisher: (connection): PublisherScript => ({
      steps: [upgrade(fixedName(`${prefix}p`, connection))],
      keepAlive,
      publish: ({ topic, payload, id }) =>
        maskedFrame(0x1, `{"id":${id},"op":"post","as":"${author(topic)}","text":"${payload}"}`),
      answers: answerReader(),
    }),
    follow: ({ reader: number, topic, id }) =>
      maskedFrame(0x1, `{"id":${id},"op":"follow","user":"${author(topic)}","as":"${reader(number)}"}`),
  };
}

/** How load processes are told of this dialect. */
export function whalesongDialect(options: WhalesongDialectOptions): DialectRef {
  const { deflate = false } = options;
  return { module: "targets/whalesong-dialect", options, texts: deflate ? "prose" : "words" };
}

export function addressOf(text: string): Address {
  const url = new URL(text);
  const tls = url.protocol === "wss:" || url.protocol === "https:";
  const port = url.port === "" ? (tls ? 443 : 80) : Number(url.port);
  return { host: url.hostname.replaceAll(/^\[|\]$/g, ""), port, tls };
}

function handshakeOf(as: {
  address: Address;
  user: string;
  token: string | undefined;
  deflate: boolean;
}): Buffer {
  const { address, user, token, deflate } = as;
  const query =
    token === undefined ? `user=${encodeURIComponent(user)}&device=${device}` : `device=${device}`;
  const lines = [
    `GET /v1/ws?${query} HTTP/1.1`,
    `Host: ${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    "Sec-WebSocket-Protocol: whalesong.v1.json",
    ...(deflate ? [`Sec-WebSocket-Extensions: ${offer}`] : []),
    ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
  ];
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`);
}

/** Reads `{"id":17,"ok":…}` and `{"id":17,"error":…}`; everything else is passed over. */
function answerReader(): AnswerReader {
  const frames = new FrameReader();
  return (bytes, take) => {
    frames.read(bytes, (payload) => {
      const text = payload.toString("latin1", 0, Math.min(payload.length, 32));
      if (!text.startsWith(answerHead)) return;
      const end = text.indexOf(",", answerHead.length);
      const id = Number(text.slice(answerHead.length, end));
      if (text.startsWith(`"ok"`, end + 1)) take(id);
      else take(id, payload.toString("utf8"));
    });
  };
}
