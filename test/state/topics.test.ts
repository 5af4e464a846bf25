/* Topics: heads and rows read as one list of offsets, whatever was filed and removed. */

import tap, { type Test } from "tap";

import { Environment } from "../../broker/state/environment.ts";
import {
  type TopicPrefix,
  Topics,
  authorTopic,
  mentionTopic,
  tagTopic,
  threadTopic,
} from "../../broker/state/topics.ts";
import { Random } from "../model/random.ts";

const all = Number.MAX_SAFE_INTEGER;
// Neighbours in the order of keys: what is read of one must not reach into the other.
const names: TopicPrefix[] = [
  authorTopic(7),
  authorTopic(8),
  mentionTopic(0xffff_ffff),
  tagTopic("a"),
  tagTopic("ab"),
  threadTopic(7),
];

await tap.test("a topic has what was filed and not removed, in order, from either end", async (t) => {
  const { environment, topics } = openTopics(t);
  const random = Random.seeded();
  t.comment(`WHALESONG_SEED=${random.seed}`);
  const model = names.map((): number[] => []);
  let offset = 0;
  for (let round = 0; round < 60; round++) {
    await environment.transact(() => {
      for (let i = 0; i < 100; i++) {
        const topic = random.below(names.length);
        const filed = model[topic]!;
        if (random.chance(0.7) || filed.length === 0) {
          topics.put(names[topic]!, ++offset);
          filed.push(offset);
        } else {
          // The oldest, as a trim does, or any, as a delete does.
          const index = random.chance(0.5) ? 0 : random.below(filed.length);
          topics.remove(names[topic]!, filed.splice(index, 1)[0]!);
        }
      }
    }).committed;
    for (const [i, filed] of model.entries()) {
      const topic = names[i]!;
      const from = random.below(offset + 2);
      const upTo = random.below(offset + 2);
      const most = 1 + random.below(40);
      const between = filed.filter((at) => at > from && at <= upTo);
      t.same(topics.after(topic, from, upTo, most), between.slice(0, most), "ascending");
      const before = filed.filter((at) => at < from).toReversed();
      t.same(topics.before(topic, from, most), before.slice(0, most), "descending");
      t.same(topics.after(topic, 0, offset, all), filed, "all of it");
      t.same(topics.before(topic, offset + 1, all), filed.toReversed(), "all of it, backwards");
    }
    t.ok(topics.lastByAuthor(7) >= (model[0]!.at(-1) ?? 0));
  }
  t.ok(
    model.some((filed) => filed.length > 100),
    "topics of several rows were met",
  );
});

await tap.test("what is not filed can be removed, and nothing changes", async (t) => {
  const { environment, topics } = openTopics(t);
  const [topic] = names;
  await environment.transact(() => {
    for (let offset = 2; offset <= 100; offset += 2) topics.put(topic!, offset);
    for (const offset of [1, 3, 63, 65, 99, 101]) topics.remove(topic!, offset);
    topics.remove(names[1]!, 2);
  }).committed;
  t.same(
    topics.after(topic!, 0, 100, all),
    Array.from({ length: 50 }, (_, i) => 2 * i + 2),
  );
});

function openTopics(t: Test): { environment: Environment; topics: Topics } {
  const environment = new Environment(t.testdir());
  t.teardown(() => environment.close());
  return { environment, topics: new Topics(environment.tables) };
}
