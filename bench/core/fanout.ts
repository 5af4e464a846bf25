/* fanout: one author, all readers live: what a delivery costs the broker, beside what it costs a bare loop.
 *
 * Targets are of the bare loop's cost with one post in flight, measured in the same run, since a write to a socket costs
 * one machine several times what it costs another. With one post in flight the broker has a write for each delivery too,
 * and may take a quarter more for all else it does. With 32 in flight it is to join what waits for a reader into few
 * writes: ten frames in one write were measured to take 0.16 of ten writes. */

import type { Child } from "../children.ts";
import { type Figure, figureOf } from "../figure.ts";
import type { BareLoopHandlers } from "../load/bare-loop.ts";
import type { FanOutHandlers } from "../load/fan-out.ts";
import type { PublishHandlers } from "../load/publish.ts";
import { type Observed, type Run, observe } from "../run.ts";

const crowds = [
  { subscribers: 1_000, posts: 400 },
  { subscribers: 5_000, posts: 150 },
];
const rounds = [
  { inFlight: 1, postsFactor: 1, mostOfBare: 1.25 },
  { inFlight: 32, postsFactor: 8, mostOfBare: 0.16 },
];

type FanOutLoad = Child<FanOutHandlers>;

interface RoundOptions {
  name: string;
  count: number;
  posts: number;
  inFlight: number;
}

interface RoundResult extends Observed<Awaited<ReturnType<FanOutHandlers["fanOut"]>>> {
  /** CPU time of the server for a delivery, in µs. */
  userMicros: number;
  systemMicros: number;
  deliveriesPerSecond: number;
}

export async function measureFanOut(run: Run): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const { subscribers, posts } of crowds) {
    const count = run.size(subscribers);
    const bare = await measureBareLoop(run, { count, posts });
    figures.push(bare);
    const broker = await run.startBroker();
    const followers = run.startLoad<PublishHandlers>("publish");
    await followers.ask("connect", { url: broker.url, connections: 1 });
    await followers.ask("follow", { readers: count, follows: 1, authors: 1 });
    await followers.end();
    const load = run.startLoad<FanOutHandlers>("fan-out");
    await load.ask("open", { url: broker.url, count, at: "broker" });
    for (const { inFlight, postsFactor, mostOfBare } of rounds) {
      const name = `fan-out to ${count.toLocaleString("en")}, ${inFlight} in flight`;
      const round = await measureRound(run, load, (work) => broker.observe(work), {
        name,
        count,
        posts: posts * postsFactor,
        inFlight,
      });
      figures.push(...figuresOf(name, round, bare.value * mostOfBare));
    }
    await load.end();
    await broker.stop();
  }
  return figures;
}

async function measureBareLoop(
  run: Run,
  { count, posts }: { count: number; posts: number },
): Promise<Figure> {
  const server = run.startLoad<BareLoopHandlers>("bare-loop");
  const url = await server.ask("listen", undefined);
  const load = run.startLoad<FanOutHandlers>("fan-out");
  await load.ask("open", { url, count, at: "bare loop" });
  const name = `a bare loop to ${count.toLocaleString("en")}, 1 in flight`;
  const round = await measureRound(run, load, (work) => observe(server, work), {
    name,
    count,
    posts,
    inFlight: 1,
  });
  await load.end();
  await server.end();
  return figureOf({
    part: "fanout",
    name: `${name}: its CPU`,
    value: round.userMicros + round.systemMicros,
    unit: "µs/delivery",
    loads: [round.result.spent],
    broker: round.server,
    note: `not the broker: a frame built once and written to each socket; ${splitOf(round)}`,
  });
}

async function measureRound(
  run: Run,
  load: FanOutLoad,
  observeServer: <T>(work: () => Promise<T>) => Promise<Observed<T>>,
  { name, count, posts, inFlight }: RoundOptions,
): Promise<RoundResult> {
  await load.ask("fanOut", { posts: Math.ceil(posts / 10), inFlight }); // warm-up
  const observed = await run.phase(name, posts, (progress) =>
    observeServer(() => load.ask("fanOut", { posts, inFlight }, progress)),
  );
  const deliveries = posts * count;
  return {
    ...observed,
    userMicros: (observed.server.userSeconds * 1e6) / deliveries,
    systemMicros: (observed.server.systemSeconds * 1e6) / deliveries,
    deliveriesPerSecond: deliveries / observed.result.spent.seconds,
  };
}

function figuresOf(name: string, round: RoundResult, atMost: number): Figure[] {
  const { result, server, loopDelayMs, userMicros, systemMicros, deliveriesPerSecond } = round;
  const { p50Ms, p99Ms } = result.latency;
  const shared = { part: "fanout", loads: [result.spent], broker: server };
  return [
    figureOf({
      ...shared,
      name: `${name}: broker CPU`,
      value: userMicros + systemMicros,
      unit: "µs/delivery",
      atMost,
      note: `${splitOf(round)}; event loop delay p99 ${loopDelayMs.p99.toFixed(0)} ms, at most ${loopDelayMs.max.toFixed(0)} ms`,
    }),
    figureOf({
      ...shared,
      name: `${name}: rate`,
      value: deliveriesPerSecond,
      unit: "deliveries/s",
      better: "more",
      note: `to the last reader p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`,
    }),
  ];
}

function splitOf({ userMicros, systemMicros }: RoundResult): string {
  return `user ${userMicros.toFixed(2)}, system ${systemMicros.toFixed(2)}`;
}
