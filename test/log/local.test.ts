/* LocalLog: order, durability before answers, and what happens when commands come faster than the disk, or it is full. */

import { constants } from "node:os";

import tap, { type Test } from "tap";

import { LocalLog, type LocalLogOptions } from "../../broker/log/local.ts";
import { u48Key } from "../../broker/state/bytes.ts";
import { Environment } from "../../broker/state/environment.ts";
import { type Command, type Entry, type Stamped, State } from "../../broker/state/index.ts";
import { faultsOf } from "../state/consistency.ts";
import { type Store, openStore, post } from "../state/store.ts";

await tap.test(
  "commands appended one after another are applied and told in that order, once each",
  async (t) => {
    const { log, told } = await openLog(t);
    const outcomes = await Promise.all(
      Array.from({ length: 3_000 }, (_, i) => log.append(post(`user${i % 7}`))),
    );
    const offsets = Array.from({ length: 3_000 }, (_, i) => i + 1);
    t.same(
      outcomes.map(({ offset }) => offset),
      offsets,
    );
    t.same(
      told.map(({ offset }) => offset),
      offsets,
    );
    t.equal(log.durable, 3_000);
  },
);

await tap.test("an answer and its entry come after the flush, callbacks before later entries", async (t) => {
  const store = await openStore(t);
  const { state, flushes } = heldBack(store.state);
  const happened: string[] = [];
  const log = new LocalLog(state, {
    listener: (entries, durable) =>
      happened.push(`told ${entries.map(({ offset }) => offset).join()} of ${durable}`),
  });
  const append = (name: string): void =>
    void log.append(post("alice")).then(({ offset }) => happened.push(`answered ${name} ${offset}`));
  append("first");
  await until(() => store.state.applied() === 1);
  append("second");
  await until(() => store.state.applied() === 2);
  log.whenDurable(0, () => happened.push("durable 0"));
  log.whenDurable(1, () => happened.push("durable 1"));
  log.whenDurable(2, () => happened.push("durable 2"));
  t.same(happened, ["durable 0"]);
  t.equal(log.durable, 0);
  flushes[0]!();
  await until(() => happened.includes("answered first 1"));
  t.same(happened, ["durable 0", "durable 1", "told 1 of 1", "answered first 1"]);
  flushes[1]!();
  await until(() => happened.length === 7);
  t.same(happened.slice(4), ["durable 2", "told 2 of 2", "answered second 2"]);
});

await tap.test("what comes while a batch commits shares the next transaction", async (t) => {
  const store = await openStore(t);
  const { state, commits } = heldBack(store.state, true);
  const log = new LocalLog(state, { listener: () => {} });
  await Promise.all(Array.from({ length: 100 }, () => log.append(post("alice"))));
  t.ok(commits.length <= 2, `${commits.length} transactions`);
});

await tap.test("on a disk that has stalled, four batches wait for it, and the rest for them", async (t) => {
  const store = await openStore(t);
  const { state, flushes, commits } = heldBack(store.state);
  const log = new LocalLog(state, { listener: () => {} });
  const appended: Promise<unknown>[] = [];
  for (let i = 1; i <= 4; i++) {
    appended.push(log.append(post("alice")));
    await until(() => flushes.length === i);
    await until(() => store.state.applied() === i);
  }
  for (let i = 0; i < 100; i++) {
    appended.push(log.append(post("alice")));
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal(commits.length, 4);
  t.equal(log.pending, 100);
  flushes[0]!();
  await until(() => flushes.length === 5);
  t.equal(commits[4]?.length, 100, "what has gathered is one batch");
  for (const flush of flushes) flush();
  await Promise.all(appended);
});

await tap.test("times never run backwards, over restarts and clocks that do", async (t) => {
  const store = await openStore(t);
  let now = 5_000;
  const at: number[] = [];
  const open = (): LocalLog =>
    new LocalLog(store.state, {
      now: () => now,
      listener: (entries) => at.push(...entries.map((e) => e.at)),
    });
  let log = open();
  await log.append(post("alice"));
  now = 4_000;
  await log.append(post("alice"));
  await log.close();
  await store.reopen();
  log = open();
  await log.append(post("alice"));
  now = 6_000;
  await log.append(post("alice"));
  t.same(at, [5_000, 5_000, 5_000, 6_000]);
});

await tap.test(
  "a refused command is answered with its error, and the others of its batch are applied",
  async (t) => {
    const { log, told } = await openLog(t);
    const outcomes = await Promise.all([
      log.append(post("alice")),
      log.append({ op: "repost", user: "bob", post: "nothing" }),
      log.append(post("alice")),
    ]);
    t.match(outcomes, [{ offset: 1 }, { error: { code: "not_found" } }, { offset: 3 }]);
    t.same(
      told.map(({ offset }) => offset),
      [1, 3],
    );
  },
);

await tap.test("a disk without room is told from a fault: only the first is storage_full", async (t) => {
  const store = await openStore(t);
  const failing = (error: Error): State =>
    overridden(store.state, () => {
      const outcomes = new Promise<never>((_, reject) => reject(error));
      return { outcomes, flushed: new Promise<void>((resolve) => resolve()) };
    });
  const mapFull = -30_792; // MDB_MAP_FULL, as lmdb tells it
  const { ENOSPC, EDQUOT, EFBIG, EIO } = constants.errno;
  for (const code of [ENOSPC, EDQUOT, EFBIG, mapFull]) {
    const log = new LocalLog(failing(Object.assign(new Error("no room"), { code })), { listener: () => {} });
    await t.rejects(log.append(post("alice")), { code: "storage_full", retryable: true, message: /no room/ });
    t.match(log.refusal, /no room/);
  }
  for (const error of [new TypeError("a secret"), Object.assign(new Error("a secret"), { code: EIO })]) {
    const heard: unknown[] = [];
    const log = new LocalLog(failing(error), { listener: () => {}, onFailure: (e) => heard.push(e) });
    await t.rejects(log.append(post("alice")), {
      code: "internal",
      message: /^(?!.*secret).*nothing was changed/,
      cause: error,
    });
    t.same(heard, [error]);
    t.notMatch(log.refusal, /secret/);
  }
});

await tap.test(
  "a batch that cannot be applied is refused, retryable, and changed nothing; the log goes on",
  async (t) => {
    const store = await openStore(t);
    let isBroken = false;
    const state = overridden(store.state, (commands) => {
      if (!isBroken) return store.state.commit(commands);
      return store.state.commit([...commands, undefined as unknown as Stamped]);
    });
    const failures: unknown[] = [];
    const told: Entry[] = [];
    const log = new LocalLog(state, {
      listener: (entries) => told.push(...entries),
      onFailure: (error) => failures.push(error),
    });
    await log.append(post("alice"));
    isBroken = true;
    const refused = await Promise.allSettled([log.append(post("bob")), log.append(post("carol"))]);
    for (const result of refused) t.match(result, { reason: { code: "internal", retryable: true } });
    t.ok(failures.length > 0);
    t.type(log.refusal, "string");
    t.equal(store.state.applied(), 1);
    await log.probe();
    t.type(log.refusal, "string", "still broken");
    isBroken = false;
    await log.probe();
    t.equal(log.refusal, undefined, "found out without a command of anyone's");
    t.match(await log.append(post("bob")), { offset: 2 }, "and it took no offset");
    t.same(
      told.map(({ offset }) => offset),
      [1, 2],
    );
    t.same(faultsOf(store.state), []);
  },
);

await tap.test(
  "a command that fails by a fault of ours is refused alone; the others of its batch are applied, in order",
  async (t) => {
    const store = await openStore(t);
    const [damaged, sound] = await store.apply([post("alice"), post("alice")]);
    await damage(store, damaged!.offset);
    const failures: unknown[] = [];
    const told: Entry[] = [];
    const { state, commits } = heldBack(store.state, true);
    const log = new LocalLog(state, {
      listener: (entries) => told.push(...entries),
      onFailure: (error) => failures.push(error),
    });
    const id = store.state.positions.id(damaged!.offset);
    const faulty = new Set([100, 101, 411]);
    const appended = Array.from({ length: 600 }, (_, i) =>
      log.append(faulty.has(i) ? { op: "repost", user: "bob", post: id } : post("carol", { text: `${i}` })),
    );
    const results = await Promise.allSettled(appended);
    const offsets: number[] = [];
    for (const [i, result] of results.entries()) {
      if (faulty.has(i)) t.match(result, { reason: { code: "internal", retryable: true } });
      else if (result.status === "fulfilled") offsets.push(result.value.offset);
      else t.fail(`command ${i}: ${result.reason}`);
    }
    t.equal(failures.length, faulty.size, "each fault is heard of once");
    t.equal(log.refusal, undefined, "the store can be written: commands are taken");
    t.same(
      offsets.toSorted((a, b) => a - b),
      offsets,
      "in the order in which they were appended",
    );
    t.same(
      told.map(({ offset }) => offset),
      offsets,
    );
    t.same(commits[0]!.length, 512);
    t.ok(commits.length < 70, `found in halves, not one by one: ${commits.length} transactions`);
    t.equal(log.durable, store.state.applied());
    t.match(await log.append({ op: "repost", user: "bob", post: store.state.positions.id(sound!.offset) }), {
      entry: { kind: "repost" },
    });
  },
);

await tap.test(
  "a full store refuses all but deletes and trims, and takes commands again when there is room",
  async (t) => {
    let reason: string | undefined;
    const { log, store } = await openLog(t, { fullness: () => reason });
    await log.append(post("alice"));
    reason = "the store is full; make room";
    t.equal(log.refusal, reason);
    for (const command of [post("alice"), { op: "follow", user: "a", target: "b" } as const]) {
      await t.rejects(log.append(command), { code: "storage_full", retryable: true, message: reason });
    }
    const id = store.state.positions.id(1);
    t.match(await log.append({ op: "delete", user: "alice", post: id }), { answer: 1 });
    t.equal((await log.append({ op: "trim", floor: 1, most: 1 })).error, undefined);
    reason = undefined;
    await log.append(post("alice"));
  },
);

await tap.test(
  "more commands than may wait are refused, retryable, and those that wait are applied",
  async (t) => {
    const { log } = await openLog(t);
    const waiting = Array.from({ length: 200_000 }, () =>
      log.append({ op: "unfollow", user: "a", target: "b" }),
    );
    t.equal(log.pending, 200_000);
    await t.rejects(log.append(post("alice")), { code: "unavailable", retryable: true });
    await Promise.all(waiting);
    t.match(await log.append(post("alice")), { offset: 200_001 });
  },
);

await tap.test("the bytes of commands that wait are bounded, whatever holds them", async (t) => {
  const { log } = await openLog(t, { maxPendingBytes: 1_000_000 });
  const large: Partial<Extract<Command, { op: "post" }>>[] = [
    { text: "x".repeat(16_000) },
    { data: { a: ["x".repeat(8_000), { b: "x".repeat(8_000) }] } },
    { data: Array.from({ length: 1_400 }, (_, i) => i) },
  ];
  for (const fields of large) {
    const results = await Promise.allSettled(
      Array.from({ length: 100 }, () => log.append(post("alice", fields))),
    );
    const taken = results.filter(({ status }) => status === "fulfilled").length;
    t.ok(taken >= 20 && taken <= 40, `${taken} of some 32,000 bytes each`);
    t.match(results.at(-1), {
      reason: { code: "unavailable", retryable: true, message: /1000000 bytes/ },
    });
    t.match(await log.append(post("alice")), { entry: { kind: "post" } }, "there is room again");
  }
});

await tap.test("a log that closes answers what it has taken and refuses what comes after", async (t) => {
  const { log, told } = await openLog(t);
  const taken = Array.from({ length: 1_000 }, () => log.append(post("alice")));
  const closing = log.close();
  await t.rejects(log.append(post("alice")), { code: "unavailable" });
  await closing;
  t.equal(told.length, 1_000);
  await Promise.all(taken);
});

await tap.test(
  "nothing is committed while those who hear of entries are behind, and nothing is lost",
  async (t) => {
    const turns = 50;
    let asked = 0;
    const { log, store, told } = await openLog(t, { isBehind: () => ++asked <= turns });
    const appending = Array.from({ length: 10 }, () => log.append(post("alice")));
    await until(() => asked === turns);
    t.equal(store.state.applied(), 0);
    await Promise.all(appending);
    t.equal(told.length, 10);
  },
);

async function openLog(
  t: Test,
  options: Partial<LocalLogOptions> = {},
): Promise<{ store: Store; log: LocalLog; told: Entry[] }> {
  const store = await openStore(t);
  const told: Entry[] = [];
  const log = new LocalLog(store.state, { listener: (entries) => told.push(...entries), ...options });
  return { store, log, told };
}

/** Spoils the entry at `offset` on disk: what reads it fails as no refusal does. */
async function damage(store: Store, offset: number): Promise<void> {
  await store.state.close();
  const environment = new Environment(store.folder);
  await environment.transact(() => environment.tables.log.putSync(u48Key(offset), Buffer.from([0xff])))
    .flushed;
  await environment.close();
  store.state = await State.open(store.folder);
}

/** A state whose flushes are let through one by one, or at once: what the disk does, in the test's hands. */
function heldBack(
  real: State,
  isOpen = false,
): { state: State; flushes: (() => void)[]; commits: Stamped[][] } {
  const flushes: (() => void)[] = [];
  const commits: Stamped[][] = [];
  const state = overridden(real, (commands) => {
    commits.push(commands);
    const { outcomes, flushed } = real.commit(commands);
    const gate = isOpen ? Promise.resolve() : new Promise<void>((resolve) => flushes.push(resolve));
    const passed = flushed.then(() => gate);
    passed.catch(() => {}); // a failed commit is told by its outcomes
    return { outcomes, flushed: passed };
  });
  return { state, flushes, commits };
}

function overridden(real: State, commit: (commands: Stamped[]) => ReturnType<State["commit"]>): State {
  const get = (target: State, name: keyof State): unknown => {
    if (name === "commit") return commit;
    const value: unknown = target[name];
    return typeof value === "function" ? (value as () => unknown).bind(target) : value;
  };
  return new Proxy(real, { get: (target, name) => get(target, name as keyof State) });
}

async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) await new Promise((resolve) => setImmediate(resolve));
}
