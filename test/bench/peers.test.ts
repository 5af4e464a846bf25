/* Every peer starts as the bench starts it and is spoken to in its own dialect: each reader gets what was published to its
 * topics, all of it and in order, and nothing else. Real servers; one that is not installed is named, and fails in CI. */

import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { test, type Test } from "tap";

import { chooseBaseline, sendLoop, writeLoop } from "../../bench/baseline/index.ts";
import { findCompiler } from "../../bench/baseline/compile.ts";
import { Connection } from "../../bench/load/connection.ts";
import type { Dialect, DialectRef } from "../../bench/load/dialect.ts";
import { makeFiller, makeStamp } from "../../bench/load/stamp.ts";
import { peers } from "../../bench/peers/index.ts";
import { targetOf } from "../../bench/peers/peer.ts";
import { processTree } from "../../bench/targets/processes.ts";
import type { Running, Target } from "../../bench/targets/target.ts";

const payloadBytes = 200;
const inFlight = 32;
const posts = 320;

for (const peer of peers) {
  void test(`${peer.name} delivers to the subscribers of a topic`, async (t) => {
    const version = peer.findVersion();
    if (version === undefined) return missing(t, `${peer.name} is not installed: ${peer.install}`);
    t.match(version, /^\d+\.\d+/, "it says its version");
    const some = Array.from({ length: 50 }, (_, i) => i * 7);
    await deliver(t, targetOf(peer, version), [[0], [7], some, [8], [0, 8]]);
  });
}

void test("the send loop in C is compiled, and sends each payload to every reader", async (t) => {
  const compiler = findCompiler();
  if (compiler === undefined) return missing(t, "there is no C compiler: apt-get install gcc");
  t.match(compiler.version, /^(?:gcc|clang) \d+\.\d+/);
  t.match(chooseBaseline({ payloadBytes }), { name: "C send loop", version: compiler.version });
  await deliver(t, sendLoop(compiler, { payloadBytes }), [[0], [0], [0]]);
});

void test("the loop in Node.js that stands in for it does the same", async (t) => {
  await deliver(t, writeLoop({ payloadBytes }), [[0], [0], [0]]);
});

void test("a server that does not start says why, and leaves nothing running", async (t) => {
  const [peer] = peers;
  const broken = {
    ...peer!,
    prepare: () => ({ file: "/bin/sh", args: ["-c", "echo no such luck; exit 3"] }),
  };
  const target = targetOf(broken, "0");
  await t.rejects(target.start(optionsFor(t)), /ended before it was ready; it said:\nno such luck/);
});

void test("a run that is interrupted kills what was started", async (t) => {
  const controller = new AbortController();
  const running = await writeLoop({ payloadBytes }).start({ ...optionsFor(t), signal: controller.signal });
  const pids = processTree(running.pids());
  t.ok(pids.length > 0);
  controller.abort();
  await running.stop();
  await untilGone(pids);
  t.notOk(pids.some(isRunning));
});

/** A test whose program is missing is skipped, except in CI, where it is to be there. */
function missing(t: Test, what: string): void {
  if (process.env["CI"] === "true") t.fail(what);
  else t.pass(`skipped: ${what}`, { skip: what });
}

function optionsFor(
  t: Test,
  folder = mkdtempSync(join(tmpdir(), "whalesong-peers-")),
): {
  folder: string;
  cores: undefined;
  profiles: undefined;
  signal: AbortSignal;
} {
  mkdirSync(folder, { recursive: true });
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return { folder, cores: undefined, profiles: undefined, signal: new AbortController().signal };
}

/** Publishes to every topic that a reader has, and to one that nobody reads. */
async function deliver(t: Test, target: Target, readers: readonly number[][]): Promise<void> {
  const running = await target.start(optionsFor(t));
  const pids = processTree(running.pids());
  try {
    await exchange(t, running, readers);
  } finally {
    await running.stop();
  }
  await untilGone(pids);
}

async function exchange(t: Test, running: Running, readers: readonly number[][]): Promise<void> {
  const dialect = await loadDialect(running.dialect("x1"));
  const other = await loadDialect(running.dialect("x2"));
  const knowsTopics = running.dialect("x1").module !== "baseline/dialect";
  const topics = [...new Set(readers.flat()), 999];
  const wanted = readers.map((reads) =>
    Array.from({ length: posts }, (_, sequence) => sequence).filter(
      (sequence) => !knowsTopics || reads.includes(topics[sequence % topics.length]!),
    ),
  );
  const got: number[][] = readers.map(() => []);
  const strangers: number[] = [];
  let change: (() => void) | undefined;
  const connections = await Promise.all([
    ...readers.map((reads, reader) =>
      openReader(dialect, { reader, topics: reads }, (sequence) => {
        got[reader]!.push(sequence);
        change?.();
      }),
    ),
    ...(knowsTopics ? [openReader(other, { reader: 0, topics: [0] }, (s) => strangers.push(s))] : []),
  ]);
  const publisher = await openPublisher(dialect);
  const filler = makeFiller(payloadBytes);
  for (let sequence = 0; sequence < posts; sequence++) {
    publisher.send({
      topic: topics[sequence % topics.length]!,
      payload: makeStamp(sequence, 0) + filler,
      id: sequence + 1,
    });
    if ((sequence + 1) % inFlight > 0) continue;
    const due = wanted.reduce((sum, all) => sum + all.filter((each) => each <= sequence).length, 0);
    while (got.flat().length < due) await new Promise<void>((resolve) => (change = resolve));
  }
  for (const [reader, all] of wanted.entries())
    t.strictSame(
      got[reader],
      all,
      `reader ${reader} of ${readers[reader]!.length} topics got each post once`,
    );
  t.strictSame(strangers, [], "a topic of another run is another topic");
  for (const connection of [...connections, publisher]) connection.close();
}

function openReader(
  dialect: Dialect,
  { reader, topics }: { reader: number; topics: readonly number[] },
  onMessage: (sequence: number) => void,
): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const script = dialect.reader({ reader, topics: Uint32Array.from(topics) });
    const connection: Connection = new Connection({
      address: dialect.address,
      script,
      payloadBytes,
      onMessage,
      onReady: () => resolve(connection),
      onEnd: reject,
    });
  });
}

async function openPublisher(
  dialect: Dialect,
): Promise<{ send: (post: { topic: number; payload: string; id: number }) => void; close: () => void }> {
  const script = dialect.publisher(0);
  const connection = await new Promise<Connection>((resolve, reject) => {
    const opening: Connection = new Connection({
      address: dialect.address,
      script,
      payloadBytes,
      onReady: () => resolve(opening),
      onEnd: reject,
    });
  });
  return { send: (post) => connection.write(script.publish(post)), close: () => connection.close() };
}

async function loadDialect({ module, options }: DialectRef): Promise<Dialect> {
  const { createDialect } = (await import(`../../bench/${module}.ts`)) as {
    createDialect: (options: unknown) => Dialect;
  };
  return createDialect(options);
}

/** Children of a server that is gone end a moment later. */
async function untilGone(pids: readonly number[]): Promise<void> {
  while (pids.some(isRunning)) await sleep(5);
}

function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}/stat`);
}
