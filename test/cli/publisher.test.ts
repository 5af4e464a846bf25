/* Interactions become publishes: which, in what order, and what waits for what. */

import { test } from "tap";

import { InteractionGraph } from "../../clients/cli/replay/graph.ts";
import type { Interaction, InteractionKind } from "../../clients/cli/replay/interactions.ts";
import { Publisher, type PublishingSession } from "../../clients/cli/replay/publisher.ts";

type Line = [actor: string, target: string, kind: InteractionKind, atSeconds?: number];

/** Answers in the order asked, a turn of the event loop later; a repeated repost with the first. */
class Ledger implements PublishingSession {
  readonly asked: string[] = [];
  most = 0;
  refuse: string | undefined;
  #count = 0;
  #unanswered = 0;
  readonly #reposts = new Map<string, string>();

  post(text: string, options: { as: string; replyTo?: string; mentions?: string[] }) {
    const said = options.replyTo === undefined ? "posts" : `answers ${options.replyTo}`;
    const about = /@\S*[^.\s]/.exec(text)?.[0] ?? "";
    const listed = options.mentions === undefined ? "" : ` lists ${options.mentions.join()}`;
    return this.#answer(`${options.as} ${said} ${about}${listed}`.trim(), `p${++this.#count}`);
  }

  repost(id: string, { as }: { as: string }) {
    const first = this.#reposts.get(`${as} ${id}`) ?? `r${++this.#count}`;
    this.#reposts.set(`${as} ${id}`, first);
    return this.#answer(`${as} reposts ${id}`, first);
  }

  async #answer(what: string, id: string) {
    this.asked.push(what);
    this.most = Math.max(this.most, ++this.#unanswered);
    await new Promise((resolve) => setImmediate(resolve));
    this.#unanswered--;
    if (this.refuse === what) throw new Error(`refused: ${what}`);
    return { id, cursor: `e-${id.slice(1)}` };
  }
}

async function publish(
  lines: Line[],
  more: { concurrency?: number; speed?: number | "max"; refuse?: string } = {},
) {
  const interactions: Interaction[] = lines.map(([actor, target, kind, atSeconds = 0]) => ({
    actor,
    target,
    kind,
    atSeconds,
  }));
  const graph = new InteractionGraph();
  for (const interaction of interactions) graph.add(interaction);
  const session = new Ledger();
  session.refuse = more.refuse;
  const publisher = new Publisher({
    session,
    graph,
    concurrency: more.concurrency ?? 4,
    speed: more.speed ?? "max",
    textBytes: 60,
    signal: new AbortController().signal,
  });
  await publisher.publish(interactions);
  return { session, publisher };
}

void test("a repost and a reply go to the target's latest post, in order", async (t) => {
  const { session, publisher } = await publish([
    ["a", "b", "MT"], // p1
    ["a", "b", "MT"], // p2
    ["b", "a", "RT"], // r3 of p2
    ["c", "a", "RE"], // p4 to p2
    ["a", "c", "RT"], // r5 of p4
  ]);
  t.same(session.asked, ["a posts @b", "a posts @b", "b reposts p2", "c answers p2", "a reposts p4"]);
  t.match(publisher.counts, {
    interactions: 5,
    posts: 2,
    replies: 1,
    reposts: 2,
    firstPosts: 0,
    repeatedReposts: 0,
  });
  t.same(
    publisher.entries.map(({ id }) => id),
    ["p1", "p2", "r3", "p4", "r5"],
  );
});

void test("a target without a post first publishes one, once, and only if no earlier line gives it one", async (t) => {
  const lines: Line[] = [
    ["a", "b", "RT"],
    ["c", "b", "RT"],
    ["d", "a", "MT"],
    ["a", "d", "RT"],
    ["e", "e", "RE"],
    ["b", "e", "RT"],
  ];
  const paced = await publish(lines, { speed: 1_000 });
  t.same(paced.session.asked, [
    "b posts",
    "a reposts p1",
    "c reposts p1",
    "d posts @a",
    "a reposts p4",
    "e posts",
    "e answers p6",
    "b reposts p7",
  ]);
  t.equal(paced.publisher.counts.firstPosts, 2);
  const fast = await publish(lines);
  t.equal(fast.publisher.counts.firstPosts, 2);
  t.same(fast.session.asked, [
    "b posts",
    "e posts",
    "a reposts p1",
    "c reposts p1",
    "d posts @a",
    "a reposts p5",
    "e answers p2",
    "b reposts p7",
  ]);
});

void test("a repost by the same user of the same post again publishes nothing new", async (t) => {
  const { publisher } = await publish([
    ["a", "b", "MT"],
    ["b", "a", "RT"],
    ["b", "a", "RT"],
    ["a", "b", "MT"],
    ["b", "a", "RT"],
  ]);
  t.match(publisher.counts, { interactions: 5, posts: 2, reposts: 2, repeatedReposts: 1 });
  t.equal(publisher.entries.length, 4);
  t.equal(publisher.wrongAnswers, 0);
});

void test("no more than the concurrency is unanswered, and independent posts do not wait for each other", async (t) => {
  const lines = Array.from({ length: 50 }, (_, i): Line => [`user${i}`, "whale", "MT"]);
  t.equal((await publish(lines, { concurrency: 7 })).session.most, 7);
  t.equal((await publish(lines, { concurrency: 1 })).session.most, 1);
});

void test("a mention is in the text, and listed where a text cannot carry it", async (t) => {
  const { session } = await publish([
    ["a", "b_1", "MT"],
    ["a", "Ünal.x", "MT"],
  ]);
  t.same(session.asked, ["a posts @b_1", "a posts @Ünal.x lists Ünal.x"]);
});

void test("the first refusal ends it", async (t) => {
  await t.rejects(
    publish(
      [
        ["a", "b", "RT"],
        ["c", "d", "MT"],
      ],
      { refuse: "c posts @d" },
    ),
    /refused: c posts @d/,
  );
  await t.rejects(publish([["a", "b", "RT"]], { refuse: "b posts" }), /refused: b posts/);
});

void test("at a speed, no line comes before its time", async (t) => {
  const startMs = performance.now();
  await publish(
    [
      ["a", "b", "MT", 100],
      ["a", "b", "MT", 103],
    ],
    { speed: 20 },
  );
  t.ok(performance.now() - startMs >= 149, "3 s at 20 times real time");
});
