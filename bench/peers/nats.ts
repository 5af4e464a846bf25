/* nats-server: core NATS over its WebSocket listener; subjects for topics. https://docs.nats.io/reference/reference-protocols/nats-protocol
 *
 *     CONNECT {…}, SUB subject 1, …, PING ─► PONG        MSG subject 1 200 … payload        PUB subject 200 … payload */

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Dialect, Step } from "../load/dialect.ts";
import { maskedFrame } from "../load/websocket-frames.ts";
import { askProgram, findProgram } from "../targets/programs.ts";
import { topicName, topicNames, upgradeStep } from "./names.ts";
import type { Peer, PeerDialectOptions } from "./peer.ts";

const binary = 0x2;

export const nats: Peer = {
  key: "nats",
  name: "nats-server",
  install: "apt-get install nats-server",
  setting: "WebSocket, core NATS",
  dialect: "peers/nats",
  createDialect,
  findVersion: () => askProgram("nats-server", ["--version"], /v([\d.]+)/),
  prepare({ folder, port }) {
    const config = join(folder, "nats.conf");
    writeFileSync(config, configuration(port));
    return { file: findProgram("nats-server")!, args: ["-c", config] };
  },
};

/** `port: -1` is any port: plain TCP is not used, and cannot be switched off. */
function configuration(port: number): string {
  return `host: 127.0.0.1
port: -1
max_connections: 1000000
max_pending: 1GB
write_deadline: "60s"
ping_interval: "1h"
websocket {
  host: 127.0.0.1
  port: ${port}
  no_tls: true
  compression: false
}
`;
}

export function createDialect({ address, prefix }: PeerDialectOptions): Dialect {
  const connect = (subscriptions: string): Step[] => [
    upgradeStep({ address, path: "/" }),
    {
      send: maskedFrame(binary, `CONNECT {"verbose":false,"pedantic":false}\r\n${subscriptions}PING\r\n`),
      until: Buffer.from("PONG\r\n"),
      refusal: Buffer.from("-ERR"),
    },
  ];
  return {
    address,
    reader: ({ topics }) => ({
      steps: connect(
        topicNames(prefix, topics)
          .map((topic, i) => `SUB ${topic} ${i + 1}\r\n`)
          .join(""),
      ),
    }),
    publisher: () => ({
      steps: connect(""),
      publish: ({ topic, payload }) =>
        maskedFrame(binary, `PUB ${topicName(prefix, topic)} ${payload.length}\r\n${payload}\r\n`),
    }),
  };
}
