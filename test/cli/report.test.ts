/* The report of a replay. */

import { test } from "tap";

import { isFlawless, type ReplayReport, toJson, toTable } from "../../clients/cli/replay/report.ts";

const none = { missing: 0, repeated: 0, outOfOrder: 0, unexpected: 0 };
const report: ReplayReport = {
  file: "some.txt",
  seed: 7,
  interactions: 1_000,
  users: 300,
  subscribers: 20,
  follows: 500,
  followSeconds: 0.5,
  missingFollows: 0,
  published: {
    interactions: 1_000,
    posts: 400,
    replies: 100,
    reposts: 500,
    firstPosts: 50,
    repeatedReposts: 50,
  },
  publishSeconds: 2,
  deliveries: 3_000,
  expectedDeliveries: 3_000,
  deliverySeconds: 3,
  reconnects: 0,
  followBytes: 50_000,
  publishBytes: 200_000,
  faults: { home: none, mentions: none },
  streamsBehind: 0,
  misordered: 0,
  wrongAnswers: 0,
};

void test("rates and bytes come from the counts", async (t) => {
  t.match(toJson(report), {
    entries: 1_000,
    followsPerSecond: 1_000,
    postsPerSecond: 500,
    deliveriesPerSecond: 1_000,
    bytesPerFollow: 100,
    bytesPerPost: 200,
    flawless: true,
  });
});

void test("the table says the same, and that all is well", async (t) => {
  const table = toTable(report);
  for (const line of [
    /posts\/s +500\n/,
    /store per follow +100 bytes\n/,
    /home +0 +0 +0 +0\n/,
    /^ok: all 3,000/m,
  ]) {
    t.match(table, line);
  }
});

void test("any fault of any kind makes it fail", async (t) => {
  t.ok(isFlawless(report));
  const flaws: Partial<ReplayReport>[] = [
    ...Object.keys(none).map((kind) => ({ faults: { home: none, mentions: { ...none, [kind]: 1 } } })),
    { missingFollows: 1 },
    { streamsBehind: 1 },
    { misordered: 1 },
    { wrongAnswers: 1 },
  ];
  for (const flaw of flaws) {
    t.notOk(isFlawless({ ...report, ...flaw }), JSON.stringify(flaw));
    t.match(toTable({ ...report, ...flaw }), /^FAILED/m);
  }
});

void test("where the broker does not tell its size, the report says so", async (t) => {
  const { followBytes: _, publishBytes: __, ...unknown } = report;
  t.match(toTable(unknown), /store per post +not known/);
  t.notOk("bytesPerPost" in (JSON.parse(JSON.stringify(toJson(unknown))) as object));
});
