/* redis: pub/sub over TCP, since it has no WebSocket; channels for topics. https://redis.io/docs/latest/develop/pubsub/
 *
 *     SUBSCRIBE channel … ─► subscribe channel count, for each        message channel payload        PUBLISH channel payload */

import type { Dialect } from "../load/dialect.ts";
import { openFileLimit } from "../machine.ts";
import { askProgram, findProgram } from "../targets/programs.ts";
import { topicName, topicNames } from "./names.ts";
import type { Peer, PeerDialectOptions } from "./peer.ts";

export const redis: Peer = {
  key: "redis",
  name: "redis",
  install: "apt-get install redis-server",
  setting: "TCP, pub/sub",
  dialect: "peers/redis",
  createDialect,
  findVersion: () => askProgram("redis-server", ["--version"], /v=([\d.]+)/),
  prepare({ folder, port }) {
    const settings = {
      port: `${port}`,
      bind: "127.0.0.1",
      dir: folder,
      save: "",
      appendonly: "no",
      maxclients: `${openFileLimit() - redisFiles}`,
      "tcp-backlog": "4096",
      "tcp-keepalive": "0",
      timeout: "0",
      "client-output-buffer-limit": "pubsub 0 0 0",
    };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
    return { file: findProgram("redis-server")!, args };
  },
};

/** Files that redis wants for itself. */
const redisFiles = 32;

export function createDialect({ address, prefix }: PeerDialectOptions): Dialect {
  return {
    address,
    reader: ({ topics }) => ({
      steps: [
        {
          send: command("SUBSCRIBE", ...topicNames(prefix, topics)),
          until: Buffer.from(`\r\n:${topics.length}\r\n`),
          refusal: Buffer.from("-ERR"),
        },
      ],
    }),
    publisher: () => ({
      steps: [{ send: command("PING"), until: Buffer.from("+PONG\r\n"), refusal: Buffer.from("-ERR") }],
      publish: ({ topic, payload }) => command("PUBLISH", topicName(prefix, topic), payload),
    }),
  };
}

/** All words are ASCII. */
function command(...words: string[]): Buffer {
  const parts = words.map((word) => `$${word.length}\r\n${word}\r\n`);
  return Buffer.from(`*${words.length}\r\n${parts.join("")}`);
}
