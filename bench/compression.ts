/* What compression saves and costs: `npx tsx bench/compression.ts`.
 *
 * Posts of natural text (PROTOCOL.md's own) go through the broker's encoders, plain and deflating, once for each of many
 * readers' frames to come. Bytes are of whole frames; CPU is of encoding an event once, which all its readers share. */

import { readFileSync } from "node:fs";

import {
  deflatingEncoders,
  leastDeflatedBytes,
  mostDeflatedBytes,
} from "../broker/transports/compression.ts";
import { WebSocketEncoder } from "../broker/transports/websocket-frames.ts";
import { alignedTable } from "./report/markdown.ts";

const eventsEach = 400;
const rounds = 5;
const prose = readFileSync(new URL("../protocol/PROTOCOL.md", import.meta.url), "utf8")
  .replaceAll(/[`|#*\n-]+/g, " ")
  .replaceAll(/\s+/g, " ");

const plain = new WebSocketEncoder("json", 0);
const deflating = deflatingEncoders(() => {}).json;

const rows = [50, 100, 200, 400, 1_000, 4_000, 16_000].map((length) => {
  const events = Array.from({ length: eventsEach }, (_, i) => eventOf(length, i));
  const [before, after] = [measure(plain, events), measure(deflating, events)];
  return [
    length.toLocaleString("en"),
    Math.round(before.bytes).toLocaleString("en"),
    Math.round(after.bytes).toLocaleString("en"),
    `${Math.round((after.bytes / before.bytes) * 100)} %`,
    before.microseconds.toFixed(1),
    after.microseconds.toFixed(1),
  ];
});
const headings = [
  "text, characters",
  "frame, bytes",
  "compressed",
  "left",
  "encoding, µs",
  "compressing too, µs",
];
console.log(alignedTable(headings, rows, new Set(headings.keys())).join("\n"));

const [shortest, longest] = [leastDeflatedBytes, mostDeflatedBytes].map((bytes) => {
  const message = { text: prose.repeat(Math.ceil(bytes / prose.length)).slice(0, bytes - 20) };
  return measure(deflating, [message], (each) => deflating.encodeMessage(each)).microseconds;
});
console.log(
  `\nThe shortest message that is compressed (${leastDeflatedBytes} bytes) takes ${shortest!.toFixed(0)} µs, the longest (${mostDeflatedBytes}) ${(longest! / 1_000).toFixed(1)} ms.`,
);

/** A post's event as fan-out hands it to encoders. */
function eventOf(length: number, i: number): object {
  const from = (i * 7_919) % (prose.length - length);
  const id = `4m9zk2q7-${100_000 + i}`;
  return {
    event: "post",
    cursor: id,
    post: {
      id,
      author: `user${i % 97}`,
      text: prose.slice(from, from + length),
      mentions: i % 3 === 0 ? ["alice"] : [],
      tags: i % 5 === 0 ? ["sea"] : [],
      at: 1_790_000_000_000 + i * 37,
    },
  };
}

/** CPU time and bytes for each event, on average. */
function measure(
  encoder: WebSocketEncoder,
  events: readonly object[],
  frameOf = (event: object): Buffer => encoder.frame(encoder.encodeBody(event), 1),
): { bytes: number; microseconds: number } {
  for (let i = 0; i < 300; i++) frameOf(events[i % events.length]!);
  let bytes = 0;
  const start = process.cpuUsage();
  for (let round = 0; round < rounds; round++) for (const event of events) bytes += frameOf(event).length;
  const { user, system } = process.cpuUsage(start);
  const count = rounds * events.length;
  return { bytes: bytes / count, microseconds: (user + system) / count };
}
