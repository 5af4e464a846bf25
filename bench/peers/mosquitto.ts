/* mosquitto: MQTT 3.1.1 over its WebSocket listener, QoS 0. https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/mqtt-v3.1.1.html
 *
 *     CONNECT ─► CONNACK 0        SUBSCRIBE 1 topics ─► SUBACK 1        PUBLISH topic payload, both ways
 *
 * A packet: u8 kind and flags, remaining length in 7-bit groups from the lowest, body; strings have a u16 length. */

import { writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";

import type { Dialect, Step } from "../load/dialect.ts";
import { maskedFrame } from "../load/websocket-frames.ts";
import { askProgram, findProgram } from "../targets/programs.ts";
import { topicName, topicNames, upgradeStep } from "./names.ts";
import type { Peer, PeerDialectOptions } from "./peer.ts";

const binary = 0x2;
const kinds = { connect: 0x10, connack: 0x20, publish: 0x30, subscribe: 0x82, suback: 0x90 };
const cleanSession = 0x02;

export const mosquitto: Peer = {
  key: "mosquitto",
  name: "mosquitto",
  install: "apt-get install mosquitto",
  setting: "WebSocket, MQTT 3.1.1, QoS 0",
  dialect: "peers/mosquitto",
  createDialect,
  findVersion: () => askProgram("mosquitto", ["-h"], /version ([\d.]+)/),
  prepare({ folder, port }) {
    const config = join(folder, "mosquitto.conf");
    writeFileSync(config, configuration(folder, port));
    return { file: findProgram("mosquitto")!, args: ["-c", config] };
  },
};

/**
 * Started as root it would become another user, who may not read its configuration. Version 2.0 does not start with
 * WebSocket listeners alone: it gets one more, which nobody uses.
 */
function configuration(folder: string, port: number): string {
  return `user ${userInfo().username}
persistence false
log_type error
allow_anonymous true
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
max_queued_bytes 0
listener 0 ${join(folder, "unused.sock")}
listener ${port} 127.0.0.1
protocol websockets
max_connections -1
`;
}

export function createDialect({ address, prefix }: PeerDialectOptions): Dialect {
  const connect = (client: string): Step[] => [
    upgradeStep({ address, path: "/mqtt", subprotocol: "mqtt" }),
    {
      send: frame(kinds.connect, text("MQTT"), Buffer.of(4, cleanSession, 0, 0), text(`${prefix}${client}`)),
      until: Buffer.of(kinds.connack, 2, 0, 0),
      refusal: Buffer.of(kinds.connack, 2, 0),
    },
  ];
  return {
    address,
    reader: ({ reader, topics }) => ({
      steps: [...connect(`r${reader}`), subscribeStep(topicNames(prefix, topics))],
    }),
    publisher: (connection) => ({
      steps: connect(`p${connection}`),
      publish: ({ topic, payload }) =>
        frame(kinds.publish, text(topicName(prefix, topic)), Buffer.from(payload)),
    }),
  };
}

/** The answer holds a byte for each topic: 0, the QoS granted. */
function subscribeStep(topics: readonly string[]): Step {
  const wanted = topics.flatMap((topic) => [text(topic), Buffer.of(0)]);
  return {
    send: frame(kinds.subscribe, Buffer.of(0, 1), ...wanted),
    until: packet(kinds.suback, Buffer.of(0, 1), Buffer.alloc(topics.length)),
  };
}

function frame(kind: number, ...body: Buffer[]): Buffer {
  return maskedFrame(binary, packet(kind, ...body));
}

function packet(kind: number, ...body: Buffer[]): Buffer {
  const bytes = Buffer.concat(body);
  const header = [kind];
  let left = bytes.length;
  do {
    header.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    left >>= 7;
  } while (left > 0);
  return Buffer.concat([Buffer.from(header), bytes]);
}

function text(string: string): Buffer {
  const bytes = Buffer.from(string);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
