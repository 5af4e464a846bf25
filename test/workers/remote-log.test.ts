/* RemoteLog: the log as a worker has it, over a store that another process writes and in the test's hands when the worker is
 * told of that. */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import tap, { type Test } from "tap";

import type { EntryListener } from "../../broker/log/log.ts";
import { CursorKeeper, LocalIntake, Operations, Rates } from "../../broker/sessions/index.ts";
import { type Command, type Offset, State, cursorKey } from "../../broker/state/index.ts";
import { Streams } from "../../broker/streams/index.ts";
import { RemoteLog } from "../../broker/workers/remote-log.ts";
import { offsetOf } from "../sessions/session-client.ts";
import { post } from "../state/store.ts";

const writerFile = fileURLToPath(new URL("writer-process.ts", import.meta.url));

/** What the other process was asked to reach, until when it waits, and how far it is then. */
interface Asked {
  offsets: Offset[];
  end: Promise<void>;
  reached: Offset;
}

interface Worker {
  state: State;
  log: RemoteLog;
  /** What the listener was told, and what a test adds. */
  happened: string[];
  asked: Asked;
  /** The other process applies these; settles once they are on disk. Nobody here is told. */
  write: (...commands: Command[]) => Promise<Offset>;
  /** Hears of entries, too. */
  listen: (listener: EntryListener) => void;
}

await tap.test(
  "what another process has committed is waited for until this one is told that it is durable",
  async (t) => {
    const { state, log, happened, write } = await openWorker(t);
    state.refresh();
    t.equal(log.current(), undefined, "all is known");

    await write(post("alice"), post("alice"));
    state.refresh();
    t.equal(log.durable, 1, "of the posts nothing was told yet");
    const first = log.current();
    t.ok(first instanceof Promise, "they are to be waited for");
    void first!.then(() => happened.push("current"));

    log.advance(2, []);
    await turn();
    t.same(happened, ["told 2 of 2"], "one of them is not all of them");

    await write(post("alice"));
    log.advance(3, []);
    await first;
    t.same(happened, ["told 2 of 2", "told 3 of 3", "current"], "what came later is not waited for");
    t.equal(log.durable, 3);
  },
);

await tap.test(
  "live, a cursor and a page begin after what another process has answered, though none was told of it here",
  async (t) => {
    const { state, log, happened, write, listen } = await openWorker(t);
    const streams = new Streams(state, { whenDurable: log.whenDurable.bind(log), onTooOld: () => {} });
    listen((entries, durable) => streams.publish(entries, durable));
    const rate = { perSecond: 1e9, burst: 1e9 };
    const unlimited = new Rates({ commands: rate, bytes: rate, reads: rate }, Date.now);
    const cursors = new CursorKeeper(state, { onFailure: (error) => t.fail(String(error)) });
    const intake = new LocalIntake(log, unlimited, state);
    const operations = new Operations({ state, log, streams, cursors, intake });
    const principal = { user: "alice", scopes: new Set(["read", "write"] as const), expiresAt: undefined };
    const head = await write(post("alice"), post("alice"));
    const cursor = state.positions.cursor(head);
    const key = cursorKey(1, "phone", "user:alice");

    const asked = [
      operations.places.startOf("live", key).then(({ position }) => position),
      operations.places.startOf(cursor, key).then(({ position }) => position),
      operations
        .execute({ id: 1, op: "read", stream: "user:alice", after: cursor }, principal)
        .then(({ after }) => offsetOf(after)),
    ];
    for (const answer of asked) void answer.then(() => happened.push("answered"));
    for (let i = 0; i < 5; i++) await turn();
    t.same(happened, [], "none is answered before");
    log.advance(head, []);
    t.same(await Promise.all(asked), [head, head, head]);
    t.equal(happened[0], `told 2,3 of ${head}`);
  },
);

await tap.test(
  "an offset that the cluster is ahead by is waited for as long as the other process does, and until it is told here",
  async (t) => {
    const { log, happened, asked, write } = await openWorker(t);
    t.equal(log.reach(1), undefined, "there already");
    let reached!: () => void;
    asked.end = new Promise((resolve) => (reached = resolve));
    const wait = log.reach(3)!.then(() => happened.push("reached"));
    await write(post("alice"), post("alice"));
    asked.reached = 3;
    reached();
    for (let i = 0; i < 5; i++) await turn();
    t.same(happened, [], "the other process is there, this one was not told of it yet");
    log.advance(3, []);
    await wait;
    t.same(happened, ["told 2,3 of 3", "reached"]);
    asked.reached = 3;
    await log.reach(9);
    t.equal(log.durable, 3, "the other process gave it up");
    t.same(asked.offsets, [3, 9]);
  },
);

/** A store with one post in it, which this process has heard of. */
async function openWorker(t: Test): Promise<Worker> {
  const folder = await mkdtemp(join(tmpdir(), "whalesong-remote-"));
  const writer: ChildProcess = fork(writerFile, [folder]);
  await once(writer, "message");
  const write = async (...commands: Command[]): Promise<Offset> => {
    writer.send(commands);
    const [applied] = (await once(writer, "message")) as [Offset];
    return applied;
  };
  await write(post("alice"));
  const state = State.openReader(folder);
  const happened: string[] = [];
  const asked: Asked = { offsets: [], end: Promise.resolve(), reached: 0 };
  const listeners: EntryListener[] = [
    (entries, durable) => happened.push(`told ${entries.map(({ offset }) => offset).join()} of ${durable}`),
  ];
  const log = new RemoteLog(state, {
    after: state.applied(),
    send: () => t.fail("nothing is asked of the other process"),
    reach: async (offset) => {
      const { end } = asked;
      asked.offsets.push(offset);
      await end;
      return asked.reached;
    },
    listener: (entries, durable) => {
      for (const listener of listeners) listener(entries, durable);
    },
  });
  t.teardown(async () => {
    await log.close();
    await state.close();
    writer.disconnect();
    await once(writer, "exit");
    await rm(folder, { recursive: true });
  });
  return { state, log, happened, asked, write, listen: (listener) => void listeners.push(listener) };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
