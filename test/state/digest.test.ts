/* Digest: equal for nodes that applied the same commands, however these were cut into batches, and for no others. */

import { cpSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import tap, { type Test } from "tap";

import { digestStore } from "../../broker/state/digest.ts";
import { Environment } from "../../broker/state/environment.ts";
import { type Command, State, type Stamped, cursorKey } from "../../broker/state/index.ts";
import { Random } from "../model/random.ts";
import { whalesong } from "../cli/whalesong.ts";
import { post } from "./store.ts";

const people = ["ann", "ben", "cleo", "dan"];
/** Many enough for rows of postings, chunks of keys and keys that expire. */
const commands = 3_000;
/** Between commands, so that keys live as long as 144 of them. */
const stepMs = 600_000;

await tap.test("the digest does not depend on how commands were cut into batches", async (t) => {
  const random = Random.seeded();
  t.comment(`WHALESONG_SEED=${random.seed}`);
  const [one, other, third] = await sameStores(t, 3);
  const log = someCommands(random, await idsOf(one!));
  await apply(one!, log, () => 1 + random.below(600));
  await apply(other!, log, () => 1 + random.below(40));
  await apply(third!, log);
  const digest = await digestStore(one!);
  t.match(digest, { offset: commands, digest: /^[0-9a-f]{64}$/ });
  t.same(await digestStore(other!), digest);
  t.same(await digestStore(third!), digest);
});

await tap.test("another command, another order or another byte makes another digest", async (t) => {
  const [one, other, swapped, damaged] = await sameStores(t, 4);
  const first: Stamped = { ...post("ann"), at: 1 };
  const second: Stamped = { ...post("ben"), at: 1 };
  await apply(one!, [first, second]);
  await apply(other!, [first, { ...second, ...post("ben", { text: "another" }) }]);
  await apply(swapped!, [second, first]);
  await apply(damaged!, [first, second]);
  const { digest } = (await digestStore(one!))!;
  t.not((await digestStore(other!))!.digest, digest);
  t.not((await digestStore(swapped!))!.digest, digest);
  t.equal((await digestStore(damaged!))!.digest, digest);
  await changeByte(damaged!);
  t.not((await digestStore(damaged!))!.digest, digest);
});

await tap.test("cursors are each node's own", async (t) => {
  const [one] = await sameStores(t, 1);
  await apply(one!, [{ ...post("ann"), at: 1 }]);
  const digest = await digestStore(one!);
  const state = await State.open(one!);
  await state.writeCursors([[cursorKey(1, "phone", "home"), { generation: 1, offset: 1 }]]);
  t.same(await digestStore(one!), digest, "also while it is open");
  await state.close();
});

await tap.test("doctor --digest prints it, for people and for machines", async (t) => {
  const [one] = await sameStores(t, 1);
  await apply(one!, [{ ...post("ann"), at: 1 }]);
  const found = (await digestStore(one!))!;
  const line = await whalesong(["doctor", "--data", one!, "--digest"]);
  t.equal(line.stdout, `epoch ${found.epoch}  head 1  digest ${found.digest}\n`);
  const json = await whalesong(["doctor", "--data", one!, "--digest", "--json"]);
  t.same(JSON.parse(json.stdout), found);
  const none = await whalesong(["doctor", "--data", join(t.testdir(), "none"), "--digest"]);
  t.match(none, { status: 1, stderr: /there is no store yet/ });
});

/** Folders with stores that are copies of one: their epochs have the same name. */
async function sameStores(t: Test, count: number): Promise<string[]> {
  const root = await mkdtemp(join(tmpdir(), "whalesong-"));
  t.teardown(() => rm(root, { recursive: true }));
  const original = join(root, "0");
  await (await State.open(original)).close();
  return Array.from({ length: count }, (_, i) => {
    const copy = join(root, `${i + 1}`);
    cpSync(original, copy, { recursive: true });
    return copy;
  });
}

async function idsOf(folder: string): Promise<(offset: number) => string> {
  const state = await State.open(folder, { isSameEpoch: true });
  const { epoch } = state.positions;
  await state.close();
  return (offset) => `${epoch}-${offset}`;
}

/** Commands of every kind; some are refused. */
function someCommands(random: Random, id: (offset: number) => string): Stamped[] {
  return Array.from({ length: commands }, (_, i) => ({
    ...someCommand(random, i, id),
    at: 1_790_000_000_000 + i * stepMs,
  }));
}

function someCommand(random: Random, i: number, id: (offset: number) => string): Command {
  const user = random.pick(people);
  const other = random.pick(people);
  const earlier = id(1 + random.below(Math.max(1, i)));
  switch (random.below(12)) {
    case 0:
      return { op: "follow", user, target: other };
    case 1:
      return { op: "unfollow", user, target: other };
    case 2:
      return { op: "repost", user, post: earlier };
    case 3:
      return { op: "delete", user, post: earlier };
    case 4:
      return { op: "trim", floor: Math.max(0, i - 500), most: 20 + random.below(50) };
    case 5:
      return post(user, { replyTo: earlier, mentions: [other] });
    case 6:
      return post(`user${i}`, { tags: ["news"], data: { n: [i, null] } });
    default:
      return post(user, { text: `post ${i}`, mentions: [other], key: `key ${random.below(i + 1)}` });
  }
}

/** Applies the commands in batches of these sizes; in one by default. */
async function apply(folder: string, log: readonly Stamped[], size = () => log.length): Promise<void> {
  const state = await State.open(folder, { isSameEpoch: true });
  for (let at = 0; at < log.length;) {
    const batch = log.slice(at, at + size());
    at += batch.length;
    await state.commit(structuredClone(batch)).outcomes;
  }
  await state.close();
}

/** Changes one byte of one row. */
async function changeByte(folder: string): Promise<void> {
  const environment = new Environment(folder);
  const { topicHeads } = environment.tables;
  const { committed } = environment.transact(() => {
    for (const { key, value } of topicHeads.getRange({ reverse: true, limit: 1 })) {
      const changed = Buffer.from(value);
      changed.writeUInt8(changed.readUInt8(0) ^ 1, 0);
      topicHeads.putSync(Buffer.from(key), changed);
    }
  });
  await committed;
  await environment.close();
}
