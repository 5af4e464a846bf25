/* ws: a broadcast loop (ws-loop-server.ts), as its README shows it: `client.send` for each client of a topic.
 *
 *     {"subscribe":[topics]} ─► "subscribed"        payload        {"topic":topic,"payload":payload} */

import type { Dialect, Step } from "../load/dialect.ts";
import { maskedFrame } from "../load/websocket-frames.ts";
import { nodeLaunch, packageVersionOf } from "../targets/node-launch.ts";
import { topicName, topicNames, upgradeStep } from "./names.ts";
import type { Peer, PeerDialectOptions } from "./peer.ts";

const text = 0x1;

export const wsLoop: Peer = {
  key: "ws",
  name: "ws loop",
  install: "npm install ws",
  setting: "WebSocket, send to each client",
  dialect: "peers/ws-loop",
  createDialect,
  findVersion: () => packageVersionOf("ws"),
  prepare: ({ port }) => nodeLaunch("bench/peers/ws-loop-server", port),
};

export function createDialect({ address, prefix }: PeerDialectOptions): Dialect {
  const connect: Step = upgradeStep({ address, path: "/" });
  return {
    address,
    reader: ({ topics }) => {
      const subscribe = JSON.stringify({ subscribe: topicNames(prefix, topics) });
      return {
        steps: [connect, { send: maskedFrame(text, subscribe), until: Buffer.from("subscribed") }],
      };
    },
    publisher: () => ({
      steps: [connect],
      publish: ({ topic, payload }) =>
        maskedFrame(text, `{"topic":"${topicName(prefix, topic)}","payload":"${payload}"}`),
    }),
  };
}
