/* When the keeper raises the log's level, and what it says that it waits for. */

import { pino } from "pino";
import tap, { type Test } from "tap";

import { Raising, shellWord } from "../../broker/cluster/raising.ts";
import type { NodeRow, RegisteredNode } from "../../broker/cluster/register.ts";
import type { NodeStatus } from "../../broker/cluster/status.ts";

const self: NodeRow = { node: "self", run: "s", version: "0.2.0", oldest: 1, newest: 2 };

function answer(node: string, newest: number | undefined, run = `run of ${node}`): NodeStatus {
  const place = { epoch: "e", head: 0, floor: 0, created: "", seq: 0, isKeeper: false, startedAt: 0 };
  const version = newest === undefined ? "0.1.0" : "0.2.0";
  const status = { node, run, version, url: "", sessions: 0, ...place };
  return newest === undefined ? status : { ...status, levels: [1, newest] };
}

function known(node: string, newest: number): RegisteredNode {
  return { node, run: `run of ${node}`, version: `0.${newest}.0`, oldest: 1, newest, seenAt: 0 };
}

/** A keeper, and all that it may hear; a test changes what that is. */
class Ground {
  level = 1;
  newest = 2;
  tenure: AbortController | undefined = new AbortController();
  answers = [answer("self", 2, "s")];
  known: RegisteredNode[] = [];
  failure: Error | undefined;
  readonly noted: NodeRow[] = [];
  readonly raised: number[] = [];
  readonly logged: string[] = [];
  asked = 0;
  readonly raising: Raising;
  /** Called at each question. */
  onAsk = (_asked: number): void => {};

  constructor(t: Test, change: Partial<Ground> = {}) {
    Object.assign(this, change);
    this.raising = new Raising({
      self,
      newest: this.newest,
      level: () => this.level,
      tenure: () => this.tenure?.signal,
      ask: async () => {
        this.onAsk(++this.asked);
        return Promise.resolve(this.answers);
      },
      register: {
        list: () => (this.failure === undefined ? Promise.resolve(this.known) : Promise.reject(this.failure)),
        note: (row) => Promise.resolve(void this.noted.push(row)),
      },
      raise: (to) => {
        this.raised.push(to);
        this.level = to;
        return Promise.resolve();
      },
      logger: pino({ level: "info" }, { write: (line: string) => void this.logged.push(line) }),
      lookMs: 1,
    });
    t.teardown(() => this.raising.close());
  }

  /** Settles once it has asked so many times more, and looked. */
  async looks(more: number): Promise<void> {
    const enough = this.asked + more + 1;
    await until(() => this.asked >= enough || this.raised.length > 0);
  }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 1));
}

await tap.test("it is raised after some looks in which everybody reads the next", async (t) => {
  const ground = new Ground(t, { known: [known("self", 2), known("away", 2)] });
  await until(() => ground.raised.length > 0);
  t.same(ground.raised, [2]);
  t.ok(ground.asked >= 3, `after ${ground.asked} looks`);
  await until(() => ground.raising.waits === undefined);
  t.match(ground.logged.join(""), /"level":2,"msg":"the cluster's level is raised/);
});

await tap.test("level by level, where there are several", async (t) => {
  const ground = new Ground(t, { newest: 3, answers: [answer("self", 3, "s")] });
  await until(() => ground.raised.length > 1);
  t.same(ground.raised, [2, 3]);
});

await tap.test("a node that answers late holds it back, and is noted for when it is away", async (t) => {
  const ground = new Ground(t);
  ground.onAsk = (asked) => {
    if (asked === 3) ground.answers = [answer("old", undefined), answer("self", 2, "s")];
  };
  await ground.looks(8);
  t.same(ground.raised, []);
  t.match(ground.noted, [self, { node: "old", version: "0.1.0", oldest: 1, newest: 1 }].slice(0, 1));
  t.ok(ground.noted.some(({ node, newest }) => node === "old" && newest === 1));
  t.equal(ground.raising.waits, "level 2 waits for old (0.1.0, reads up to level 1): upgrade it");
  ground.answers = [answer("self", 2, "s")];
  ground.known = [known("old", 1)];
  await ground.looks(5);
  t.same(ground.raised, []);
  t.equal(
    ground.raising.waits,
    "level 2 waits for old (0.1.0, reads up to level 1, does not answer): upgrade it, or when it is gone for good: whalesong cluster forget old",
  );
  const said = ground.logged.filter((line) => line.includes("not raised yet"));
  t.equal(said.length, 2, "each is said once");
  t.match(said[0], /"level":30/);
  ground.known = [];
  await until(() => ground.raised.length > 0);
});

await tap.test("a node of an earlier version holds it back under the name of a newer one", async (t) => {
  const twins = [answer("self", undefined, "old"), answer("self", 2, "s")];
  const ground = new Ground(t, { answers: twins, known: [known("self", 2)] });
  await ground.looks(6);
  t.same(ground.raised, []);
  t.match(ground.raising.waits, /waits for self \(0.1.0, reads up to level 1\): upgrade it$/);
});

await tap.test("a node that is not the keeper, or does not hear itself, raises nothing", async (t) => {
  const ground = new Ground(t, { tenure: undefined });
  const other = new Ground(t, { answers: [answer("other", 2)] });
  await other.looks(6);
  t.equal(ground.asked, 0, "and asks nobody");
  t.equal(ground.raising.waits, undefined);
  t.same(other.raised, []);
  t.match(other.raising.waits, /every node is asked/);
});

await tap.test("who becomes the keeper again begins to look anew", async (t) => {
  const ground = new Ground(t);
  ground.onAsk = (asked) => {
    if (asked % 2 === 0) ground.tenure = new AbortController();
  };
  await until(() => ground.asked >= 8);
  t.same(ground.raised, []);
});

await tap.test(
  "without the register it is not raised; that is said, and what else there is goes on",
  async (t) => {
    const ground = new Ground(t, { failure: new Error("NATS does not let this node use it") });
    await until(() => ground.asked >= 3);
    t.same(ground.raised, []);
    t.equal(ground.raising.waits, "level 2: NATS does not let this node use it");
    t.equal(ground.logged.length, 1);
    t.match(ground.logged[0], /"level":40/);
    ground.failure = undefined;
    await until(() => ground.raised.length > 0);
  },
);

await tap.test("a name is told as a shell takes it", async (t) => {
  t.equal(shellWord("host-5252"), "host-5252");
  t.equal(shellWord("a b"), "'a b'");
  t.equal(shellWord("it's"), String.raw`'it'\''s'`);
  t.equal(shellWord(""), "''");
});
