/* socket.io: a server of 20 lines (socket-io-server.ts), its WebSocket transport alone; rooms for topics.
 * https://socket.io/docs/v4/engine-io-protocol/ and https://socket.io/docs/v4/socket-io-protocol/
 *
 *     0{…} ◄─ open    40 ─► 40{…}    420["join",[…]] ─► 430[]        42["post",payload]        42["publish",topic,payload] */

import type { Dialect, Step } from "../load/dialect.ts";
import { maskedFrame } from "../load/websocket-frames.ts";
import { nodeLaunch, packageVersionOf } from "../targets/node-launch.ts";
import { topicName, topicNames, upgradeStep } from "./names.ts";
import type { Peer, PeerDialectOptions } from "./peer.ts";

const text = 0x1;

export const socketIo: Peer = {
  key: "socket.io",
  name: "socket.io",
  install: "npm install --save-dev socket.io",
  setting: "WebSocket, rooms",
  dialect: "peers/socket-io",
  createDialect,
  findVersion: () => packageVersionOf("socket.io"),
  prepare: ({ port }) => nodeLaunch("bench/peers/socket-io-server", port),
};

export function createDialect({ address, prefix }: PeerDialectOptions): Dialect {
  const connect: Step[] = [
    upgradeStep({ address, path: "/socket.io/?EIO=4&transport=websocket" }),
    { send: maskedFrame(text, "40"), until: Buffer.from(`40{"sid"`), refusal: Buffer.from("44{") },
  ];
  return {
    address,
    reader: ({ topics }) => {
      const join = `420${JSON.stringify(["join", topicNames(prefix, topics)])}`;
      return { steps: [...connect, { send: maskedFrame(text, join), until: Buffer.from("430[]") }] };
    },
    publisher: () => ({
      steps: connect,
      publish: ({ topic, payload }) =>
        maskedFrame(text, `42["publish","${topicName(prefix, topic)}","${payload}"]`),
    }),
  };
}
