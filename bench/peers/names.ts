/* Names and words that the dialects of peers have in common. */

import { randomBytes } from "node:crypto";

import { type Address, type Step, fixedName } from "../load/dialect.ts";

/** Names of one length, so that all frames have one. */
export function topicName(prefix: string, topic: number): string {
  return fixedName(`${prefix}t`, topic);
}

export function topicNames(prefix: string, topics: Uint32Array): string[] {
  return Array.from(topics, (topic) => topicName(prefix, topic));
}

/** Asks for a WebSocket. What a server says right after it may come with the answer, or in the next step. */
export function upgradeStep({
  address,
  path,
  subprotocol,
}: {
  address: Address;
  path: string;
  subprotocol?: string;
}): Step {
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: ${address.host}:${address.port}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    ...(subprotocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${subprotocol}`]),
  ];
  return {
    send: Buffer.from(`${lines.join("\r\n")}\r\n\r\n`),
    until: upgraded,
    refusal: refused,
  };
}

const upgraded = Buffer.from("HTTP/1.1 101 ");
const refused = Buffer.from("\r\n\r\n");
