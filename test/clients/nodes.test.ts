/* Which of its URLs a client tries when, on a clock and with chances of the test's own. */

import fc from "fast-check";
import tap from "tap";

import { backoffMs } from "../../clients/core/backoff.ts";
import { clientLimits } from "../../clients/core/limits.ts";
import { type Leaving, Nodes } from "../../clients/core/nodes.ts";
import { seededRandom } from "../../clients/cli/replay/random.ts";

const backoff = { initialMs: 100, maxMs: 10_000 };
const lost: Leaving = { nowMs: 0, backoff, hadSession: true, retryAfterMs: 0, comeBackAtMs: undefined };

function urls(count: number): { given: string; socket: string }[] {
  return Array.from({ length: count }, (_, i) => ({ given: `n${i}`, socket: `ws://n${i}/v1/ws` }));
}

await tap.test("clients begin at each node alike, and those of a node that goes spread alike", async (t) => {
  const seed = 7;
  t.comment(`seed ${seed}`);
  const random = seededRandom(seed);
  const clients = 60_000;
  const began = new Map<string, number>();
  const wentOn = new Map<string, number>();
  for (let i = 0; i < clients; i++) {
    const nodes = new Nodes(urls(4), random);
    const first = nodes.url.given;
    nodes.next(lost);
    const way = `${first} to ${nodes.url.given}`;
    began.set(first, (began.get(first) ?? 0) + 1);
    wentOn.set(way, (wentOn.get(way) ?? 0) + 1);
  }
  t.equal(began.size, 4);
  t.equal(wentOn.size, 4 * 3, "never back to where it was");
  for (const [node, count] of began)
    t.ok(Math.abs(count * 4 - clients) < clients * 0.03, `${node}: ${count}`);
  for (const [way, count] of wentOn)
    t.ok(Math.abs(count * 12 - clients) < clients * 0.06, `${way}: ${count}`);
});

await tap.test("those that lost a node together do not come to the next at one moment", async (t) => {
  const random = seededRandom(8);
  const waits = (leaving: Leaving): number[] =>
    Array.from({ length: 1_000 }, () => new Nodes(urls(3), random).next(leaving)).sort((a, b) => a - b);
  const crash = waits(lost);
  t.ok(crash[0]! < 5 && crash[500]! > 40 && crash[500]! < 60 && crash[999]! < 100, "over the first back-off");
  const goodbye = waits({ ...lost, comeBackAtMs: 30_000 });
  t.ok(goodbye[0]! < 50 && goodbye[500]! > 400 && goodbye[500]! < 600, "over a second");
  t.ok(goodbye[999]! < clientLimits.moveMs);
  const short = waits({ ...lost, comeBackAtMs: 300 });
  t.ok(short[999]! < 300, "never later than it was told to come back");
});

await tap.test(
  "no node is tried before its rest is over, none waits for a back-off while another is free",
  async (t) => {
    const step = fc.record({
      lastedMs: fc.nat(20_000),
      hadSession: fc.boolean(),
      retryAfterMs: fc.oneof(fc.constant(0), fc.nat(5_000)),
      goodbyeMs: fc.option(fc.nat(30_000), { nil: undefined }),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.array(step, { maxLength: 60 }),
        (count, chance, steps) => {
          // One chance for all draws, so that the test can work out each rest by itself.
          const nodes = new Nodes(urls(count), () => chance);
          const known = new Map(
            urls(count).map(({ given }) => [given, { failures: 0, restsUntilMs: 0, triedAtStep: -1 }]),
          );
          let nowMs = 0;
          steps.forEach(({ lastedMs, hadSession, retryAfterMs, goodbyeMs }, at) => {
            nowMs += lastedMs;
            const left = nodes.url.given;
            const its = known.get(left)!;
            its.triedAtStep = at;
            if (hadSession && lastedMs >= clientLimits.stableMs) {
              nodes.settled();
              for (const node of known.values()) node.failures = 0;
            }
            const restMs = Math.max(
              retryAfterMs,
              backoffMs(its.failures++, backoff, () => chance),
            );
            its.restsUntilMs = nowMs + (goodbyeMs ?? restMs);
            const free = [...known].filter(([url, node]) => url !== left && node.restsUntilMs <= nowMs);
            const waitMs = nodes.next({
              nowMs,
              backoff,
              hadSession,
              retryAfterMs,
              comeBackAtMs: goodbyeMs === undefined ? undefined : nowMs + goodbyeMs,
            });
            const chosen = known.get(nodes.url.given)!;
            if (nowMs + waitMs < chosen.restsUntilMs) throw new Error("tried before its rest was over");
            if (free.length > 0) {
              const longestAgo = Math.min(...free.map(([, node]) => node.triedAtStep));
              if (chosen.triedAtStep !== longestAgo) throw new Error("another free one was tried longer ago");
              const mostMs = !hadSession ? 0 : Math.min(goodbyeMs ?? backoff.initialMs, clientLimits.moveMs);
              if (waitMs > mostMs) throw new Error(`waits ${waitMs} ms though a node is free`);
            } else {
              const firstMs = Math.min(...[...known.values()].map(({ restsUntilMs }) => restsUntilMs));
              if (waitMs !== Math.max(0, firstMs - nowMs)) throw new Error("not the first to be rested");
            }
            nowMs += waitMs;
          });
        },
      ),
    );
    t.pass("for all of them");
  },
);

await tap.test("a single node is tried as its back-off says", async (t) => {
  const nodes = new Nodes(urls(1), () => 0.999_999);
  const failed = { ...lost, hadSession: false };
  t.same(
    [1, 2, 3, 4, 5, 6, 7, 8, 9].map(() => nodes.next(failed)),
    [99, 199, 399, 799, 1_599, 3_199, 6_399, 9_999, 9_999],
  );
  nodes.settled();
  t.equal(nodes.next(lost), 99);
  t.equal(nodes.next({ ...lost, retryAfterMs: 700 }), 700);
  t.equal(nodes.next({ ...lost, nowMs: 50, comeBackAtMs: 4_050 }), 4_000);
});

await tap.test("leaving nodes that refuse ends after one round, for a while", async (t) => {
  const nodes = new Nodes(urls(3), () => 0);
  const grant = (nowMs: number): boolean => {
    const granted = nodes.grantMove(nowMs);
    if (granted) nodes.next({ ...lost, nowMs });
    return granted;
  };
  t.same([1_000, 1_100, 1_200, 60_900].map(grant), [true, true, false, false]);
  t.same([61_000, 61_100, 61_200].map(grant), [true, true, false], "and a round more");

  t.equal(new Nodes(urls(1), () => 0).grantMove(1_000), false, "there is no other");
  const pair = new Nodes(urls(2), () => 0);
  pair.next({ ...lost, nowMs: 1_000, comeBackAtMs: 9_000 });
  t.equal(pair.grantMove(2_000), false, "the other said goodbye");
  t.equal(pair.grantMove(9_000), true, "and is back");
});

await tap.test("a wrong URL is final once all of them are", async (t) => {
  const nodes = new Nodes(urls(2), () => 0);
  t.equal(nodes.noteWrong(), false);
  t.equal(nodes.noteWrong(), false, "the same one again");
  nodes.next(lost);
  t.equal(nodes.noteWrong(), true);
  nodes.noteBroker();
  nodes.next(lost);
  t.equal(nodes.noteWrong(), false, "it was a broker at last");
});
