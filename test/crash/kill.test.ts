/* A broker killed twenty times at random moments under load loses nothing it has answered or delivered, and leaves no half
 * of anything. WHALESONG_SEED repeats the moments. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import tap, { type Test } from "tap";

import { State, cursorKey, unpackContent } from "../../broker/state/index.ts";
import { Random } from "../model/random.ts";
import { SessionClient, offsetOf } from "../sessions/session-client.ts";
import { faultsOf } from "../state/consistency.ts";
import { BrokerProcess } from "./broker-process.ts";
import { Load, type Told, nothingTold } from "./load.ts";
import { budget } from "../pace.ts";

const kills = Number(process.env["WHALESONG_KILLS"] ?? 20);
const unlimited = ["--user-rate", "1000000", "--user-burst", "1000000"];

await tap.test(
  `killed ${kills} times under load, everything answered and delivered is there`,
  { timeout: budget(180_000) },
  async (t) => {
    const random = Random.seeded();
    t.comment(`WHALESONG_SEED=${random.seed}`);
    const folder = await mkdtemp(join(tmpdir(), "whalesong-"));
    t.teardown(() => rm(folder, { recursive: true }));
    const told = nothingTold();
    for (let life = 1; life <= kills; life++) {
      const broker = await BrokerProcess.start(folder, ...unlimited);
      t.teardown(() => broker.kill());
      const load = new Load(told, random.fork(), life);
      await load.run(broker.url, 1 + random.below(600));
      await broker.kill();
      await load.stop();
      await checkStore(t, folder, told, life);
    }
    t.comment(`${told.posts.size} posts answered, ${told.events.size} events delivered`);
    t.ok(told.posts.size > kills * 50 && told.events.size > kills * 50);
    await checkFirehose(t, folder, told);
  },
);

/** Opens what the killed broker left behind. */
async function checkStore(t: Test, folder: string, told: Told, life: number): Promise<void> {
  const state = await State.open(folder);
  const { users, follows, cursors } = state;
  const wrong = faultsOf(state);
  for (const [offset, { author, text }] of told.posts) {
    const entry = state.entry(offset);
    if (entry?.kind !== "post" || users.handle(entry.author) !== author)
      wrong.push(`post ${offset} is not there`);
    else if (entry.deleted ? !told.deleting.has(offset) : unpackContent(entry.packed).text !== text) {
      wrong.push(`post ${offset} is not as it was answered`);
    }
  }
  for (const offset of told.deleted) {
    const entry = state.entry(offset);
    if (entry?.kind !== "post" || !entry.deleted) wrong.push(`the delete of ${offset} is undone`);
  }
  for (const [pair, isFollowing] of told.follows) {
    const [follower, followee] = pair.split(" ").map((handle) => users.find(handle));
    if (isFollowing === undefined) continue;
    const is = follower !== undefined && followee !== undefined && follows.has(follower, followee);
    if (is !== isFollowing) wrong.push(`${pair}: ${is ? "follows" : "does not follow"}`);
  }
  for (const [user, offset] of told.cursors) {
    const cursor = cursors.get(cursorKey(users.find(user)!, "only", "firehose"));
    if (cursor === undefined || cursor.offset < offset)
      wrong.push(`${user} is back at ${cursor?.offset}, not ${offset}`);
  }
  const texts = new Map<string, number>();
  for (const entry of state.entries(0, state.applied())) {
    if (entry.kind !== "post" || entry.deleted) continue;
    const { text } = unpackContent(entry.packed);
    if (texts.has(text)) wrong.push(`"${text}" was published at ${texts.get(text)} and ${entry.offset}`);
    texts.set(text, entry.offset);
  }
  for (const offset of told.events.keys()) {
    if (state.entry(offset) === undefined) wrong.push(`the event ${offset} that was delivered is gone`);
  }
  await state.close();
  t.same(wrong, [], `after kill ${life}`);
}

/** Reads all from the beginning: what was delivered at an offset is there again, unless it was deleted since. */
async function checkFirehose(t: Test, folder: string, told: Told): Promise<void> {
  const broker = await BrokerProcess.start(folder, ...unlimited);
  t.teardown(() => broker.kill());
  const client = await SessionClient.open(broker.url, { user: "reader" });
  const inbox = await client.subscribeLive("firehose", { from: "earliest" });
  // `live` has the head's cursor, which may be that of what was delivered last.
  const items = inbox.events.filter(({ event }) => event !== "live" && event !== "cursor");
  const read = new Map(
    items.map(({ sub: _sub, ...event }) => [offsetOf(event["cursor"]), JSON.stringify(event)]),
  );
  await client.close();
  await broker.kill();
  const changed = [...told.events].filter(([offset, event]) => (read.get(offset) ?? event) !== event);
  t.same(changed, [], "no event is another than before");
  const missing = [...told.posts.keys()].filter((offset) => !read.has(offset) && !told.deleting.has(offset));
  t.same(missing, [], "every answered post is read");
}
