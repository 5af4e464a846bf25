/* The parts of a load: stamps are found however the bytes are cut, what is missing or comes twice is found out, and a post
 * that leaves late keeps the time it was due. */

import { once } from "node:events";
import { type AddressInfo, type Server, type Socket, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { constants, deflateRawSync } from "node:zlib";
import tap, { type Test } from "tap";

import { seededRandom } from "../../clients/cli/replay/random.ts";
import { Latency } from "../../bench/latency.ts";
import { Crowd, type CrowdOptions, type Tally } from "../../bench/load/crowd.ts";
import type { Dialect } from "../../bench/load/dialect.ts";
import { inflatingDecoder } from "../../bench/load/inflating.ts";
import { proseFillers } from "../../bench/load/prose.ts";
import { Publishing } from "../../bench/load/publishing.ts";
import {
  hashSequence,
  isStamp,
  makeFiller,
  makeStamp,
  nowMicros,
  readMicros,
  readSequence,
  stampBytes,
} from "../../bench/load/stamp.ts";

const payloadBytes = 90;
const filler = makeFiller(payloadBytes);

/** A server of one test; `onLine` gets what a client says. */
async function serve(t: Test, onLine: (socket: Socket, line: string) => void): Promise<Dialect["address"]> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    let rest = "";
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      const said = (rest + bytes.toString("latin1")).split("\n");
      rest = said.pop()!;
      for (const line of said) onLine(socket, line);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

/** Lines: `hello` is answered `ok`, anything else is a publish. */
function lines(address: Dialect["address"]): Dialect {
  const steps = [{ send: Buffer.from("hello\n"), until: Buffer.from("ok\n"), refusal: Buffer.from("no\n") }];
  return {
    address,
    reader: () => ({ steps }),
    publisher: () => ({ steps, publish: ({ payload }) => Buffer.from(`${payload}\n`) }),
  };
}

function crowdOf(readers: number, options: Partial<CrowdOptions> & Pick<CrowdOptions, "dialect">): Crowd {
  return new Crowd({
    follows: {
      first: 0,
      offsets: Uint32Array.from({ length: readers + 1 }, (_, i) => i),
      topics: new Uint32Array(readers),
    },
    topicCount: 1,
    schedule: Uint32Array.of(0),
    payloadBytes,
    stream: undefined,
    user: undefined,
    onComplete: () => {},
    onMessage: () => {},
    onFailure: () => {},
    ...options,
  });
}

function tallyOf(sequences: readonly number[]): Tally {
  const digest = sequences.reduce((sum, sequence) => sum ^ hashSequence(sequence), 0);
  return { counts: Uint32Array.of(sequences.length), digests: Int32Array.of(digest) };
}

await tap.test("a stamp holds a sequence and a time, and is found again", async (t) => {
  const bytes = Buffer.from(`{"text":"${makeStamp(42, 1_234_567_890.4)}${filler}"}`);
  const at = bytes.indexOf("^");
  t.ok(isStamp(bytes, at));
  t.notOk(isStamp(bytes, at + 1));
  t.equal(readSequence(bytes, at), 42);
  t.equal(readMicros(bytes, at), 1_234_567_890);
  t.equal(stampBytes + filler.length, payloadBytes);
  t.throws(() => makeFiller(40, " @somebody whose name is long "), /no room/);
});

await tap.test(
  "messages are found however the stream is cut, with gaps of any length between them",
  async (t) => {
    const random = seededRandom(5);
    const count = 500;
    const messages = Array.from({ length: count }, (_, sequence) => {
      // What a target wraps around a payload; markers that are no stamps among it.
      const gap = "gap^ ^^".slice(0, Math.floor(random() * 8)).padEnd(Math.floor(random() * 30), "-");
      return `${gap}${makeStamp(sequence, 1_000 + sequence)}${filler}`;
    });
    const stream = Buffer.from(messages.join(""));
    const address = await serve(t, (socket) => {
      socket.write("ok\n");
      void (async () => {
        for (let at = 0; at < stream.length;) {
          const end = at + 1 + Math.floor(random() ** 3 * 400);
          socket.write(stream.subarray(at, end));
          at = end;
          await new Promise(setImmediate); // lets it leave as a piece of its own
        }
      })();
    });
    const seen: number[] = [];
    const crowd = crowdOf(1, { dialect: lines(address), onComplete: (sequence) => seen.push(sequence) });
    await crowd.open({ from: "live", onReady: () => {} });
    while (seen.length < count) await sleep(5);
    t.strictSame(
      seen,
      Array.from({ length: count }, (_, i) => i),
    );
    t.strictSame(crowd.check(tallyOf(seen)), { readers: 0, first: undefined });
    crowd.drop();
  },
);

await tap.test("what is missing, and what comes twice, is found out", async (t) => {
  for (const [what, sent] of [
    ["nothing wrong", [0, 1, 2, 3]],
    ["one missing", [0, 1, 3]],
    ["one twice", [0, 1, 2, 2, 3]],
    ["one twice and one missing", [0, 1, 1, 3]],
  ] as const) {
    const address = await serve(t, (socket) => {
      socket.write(`ok\n${sent.map((sequence) => makeStamp(sequence, 1) + filler).join("\r\n")}`);
    });
    let got = 0;
    const crowd = crowdOf(2, { dialect: lines(address), onMessage: () => got++ });
    await crowd.open({ from: "live", onReady: () => {} });
    while (got < 2 * sent.length) await sleep(5);
    const { readers, first } = crowd.check(tallyOf([0, 1, 2, 3]));
    t.equal(readers, what === "nothing wrong" ? 0 : 2, what);
    if (readers > 0) t.match(first, /^reader 0 got \d messages; 4 were published/);
    crowd.drop();
  }
});

await tap.test("a message is complete when the last of its readers has it", async (t) => {
  const sockets: Socket[] = [];
  const address = await serve(t, (socket) => {
    sockets.push(socket);
    socket.write("ok\n");
  });
  const complete: number[] = [];
  const crowd = crowdOf(3, {
    dialect: lines(address),
    onComplete: (sequence) => complete.push(sequence),
  });
  await crowd.open({ from: "live", onReady: () => {} });
  for (const [i, socket] of sockets.entries()) {
    t.strictSame(complete, []);
    socket.write(makeStamp(7, 1) + filler);
    while (crowd.messages <= i) await sleep(1);
  }
  t.strictSame(complete, [7]);
  crowd.drop();
});

await tap.test("a refusal, and an end, is told with what the target said last", async (t) => {
  const refuses = await serve(t, (socket) => socket.write("no\n"));
  await t.rejects(
    crowdOf(1, { dialect: lines(refuses) }).open({ from: "live", onReady: () => {} }),
    /refused; it said: no/,
  );
  const closes = await serve(t, (socket) => socket.end("too many of you"));
  await t.rejects(
    crowdOf(1, { dialect: lines(closes) }).open({ from: "live", onReady: () => {} }),
    /closed the connection; it said: too many of you/,
  );
});

await tap.test("what a server deflates is found as it was, however the stream is cut", async (t) => {
  const random = seededRandom(7);
  const count = 200;
  const frames = Array.from({ length: count }, (_, sequence) => {
    const text = `{"sub":1,"event":"post","cursor":"${sequence}","text":"${makeStamp(sequence, 5)}${filler}"}`;
    // Some go as they are. What the first reader has had inflated the others get from memory.
    return sequence % 5 === 0 ? frameOf(Buffer.from(text), 0x81) : frameOf(deflated(text), 0xc1);
  });
  const stream = Buffer.concat([frameOf(Buffer.from("live"), 0x81), ...frames]);
  const address = await serve(t, (socket, line) => {
    if (line === "hello") socket.write("ok\n");
    if (line !== "subscribe") return;
    void (async () => {
      for (let at = 0; at < stream.length;) {
        const end = at + 1 + Math.floor(random() * 400);
        socket.write(stream.subarray(at, end));
        at = end;
        await new Promise(setImmediate); // lets it leave as a piece of its own
      }
    })();
  });
  const steps = [
    { send: Buffer.from("hello\n"), until: Buffer.from("ok\n") },
    { send: Buffer.from("subscribe\n"), until: Buffer.from("live") },
  ];
  const crowd = crowdOf(3, {
    dialect: { ...lines(address), reader: () => ({ steps, decoder: inflatingDecoder }) },
    onFailure: (error) => t.fail(error.message),
  });
  await crowd.open({ from: "live", onReady: () => {} });
  while (crowd.messages < count * 3) await sleep(1);
  t.strictSame(crowd.check(tallyOf(Array.from({ length: count }, (_, i) => i))), {
    readers: 0,
    first: undefined,
  });
  t.equal(crowd.bytes, 3 * (stream.length + "ok\n".length), "bytes are those on the wire");
  crowd.drop();
});

await tap.test("texts of prose have the length asked for, and what they begin with", (t) => {
  const heads = [" @somebody ", ""];
  const fillers = proseFillers(300, heads);
  t.ok(fillers.length >= 61 && fillers.length % heads.length === 0);
  for (const [i, text] of fillers.entries()) {
    t.equal(text.length, 300 - stampBytes);
    t.ok(text.startsWith(heads[i % 2]!));
    t.match(text.slice(heads[i % 2]!.length), /^[A-Za-z0-9.,;:?!()' -]+$/, "no mentions, nothing to escape");
  }
  t.equal(new Set(fillers).size, fillers.length, "each is another passage");
  t.throws(() => proseFillers(40, [" @somebody whose name is long "]), /no room/);
  t.end();
});

/** As a server with permessage-deflate sends it, without context takeover. */
function deflated(text: string): Buffer {
  return deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
}

function frameOf(payload: Buffer, firstByte: number): Buffer {
  const isShort = payload.length < 126;
  const header = Buffer.alloc(isShort ? 2 : 4);
  header[0] = firstByte;
  header[1] = isShort ? payload.length : 126;
  if (!isShort) header.writeUInt16BE(payload.length, 2);
  return Buffer.concat([header, payload]);
}

await tap.test("paced: a post that leaves late is stamped with the time it was due", async (t) => {
  const stamps: number[] = [];
  const address = await serve(t, (socket, line) => {
    if (line === "hello") socket.write("ok\n");
    else stamps.push(readMicros(Buffer.from(line), 0));
  });
  const publishing = publishingTo(address);
  await publishing.connect();
  const running = publishing.run({ kind: "paced", perSecond: 100, seconds: 2 });
  while (publishing.published < 10) await sleep(1);
  // The load hangs, as it does in a long garbage collection.
  const from = nowMicros();
  while (nowMicros() - from < 300_000);
  const until = nowMicros();
  await running;
  while (stamps.length < 200) await sleep(5);
  t.equal(stamps.length, 200, "none is left out for being late");
  const hung = stamps.filter((micros) => micros > from && micros < until - 10_000);
  t.ok(hung.length >= 25, `${hung.length} were due while it hung`);
  for (let i = 1; i < hung.length; i++)
    t.ok(Math.abs(hung[i]! - hung[i - 1]! - 10_000) <= 1, "they keep their distance");
  t.ok(publishing.late >= hung.length, "and are counted as late");
  publishing.close();
});

await tap.test("closed: another goes out when one is complete, and never before", async (t) => {
  const received: string[] = [];
  const address = await serve(t, (socket, line) => {
    if (line === "hello") socket.write("ok\n");
    else received.push(line);
  });
  const publishing = publishingTo(address);
  await publishing.connect();
  const running = publishing.run({ kind: "closed", inFlight: 3, seconds: 0.2 });
  t.equal(publishing.published, 3);
  for (let complete = 1; complete <= 10; complete++) {
    while (received.length < publishing.published) await sleep(1);
    publishing.onComplete(complete - 1);
    t.ok(publishing.published <= complete + 3, "no more than three are under way");
  }
  // Until its time is over: then what is under way may end, and nothing new begins.
  let sequence = 10;
  for (let before = 0; publishing.published > before; await sleep(1)) {
    before = publishing.published;
    publishing.onComplete(sequence++);
  }
  const { published } = publishing;
  while (sequence < published) publishing.onComplete(sequence++);
  await running;
  t.equal(publishing.published, published);
  t.equal(publishing.completed, published);
  publishing.close();
});

function publishingTo(address: Dialect["address"]): Publishing {
  return new Publishing({
    dialect: lines(address),
    connections: 1,
    firstConnection: 0,
    schedule: Uint32Array.of(0),
    fillers: [filler],
    audience: Uint32Array.of(1),
    crowds: Uint32Array.of(1),
    onFailure: (error) => {
      throw error;
    },
  });
}

await tap.test("latencies of several processes are merged as if they were one's", async (t) => {
  const [one, other, both] = [new Latency(), new Latency(), new Latency()];
  for (let i = 1; i <= 1_000; i++) {
    (i % 3 === 0 ? one : other).record(i);
    both.record(i);
  }
  const merged = new Latency();
  for (const each of [one, other]) merged.add(Latency.decode(each.encode()));
  t.equal(merged.count, 1_000);
  t.strictSame(merged.curve, both.curve);
  t.equal(new Latency().encode(), undefined);
  t.equal(new Latency().percentile(99), 0);
});
