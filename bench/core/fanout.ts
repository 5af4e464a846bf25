/* fanout: one author, all readers live: what a delivery costs the broker. */

import { type Figure, figureOf } from "../figure.ts";
import type { FanOutHandlers } from "../load/fan-out.ts";
import type { PublishHandlers } from "../load/publish.ts";
import type { BrokerProcess, Run } from "../run.ts";

/* Targets, of the broker's CPU time for a delivery: one frame built once and written to each of 2,000 sockets was measured
 * to take 2.9 µs on such a machine, and ten such frames corked into one write 0.46 µs each. Beyond 2,000 sockets the
 * kernel takes more; no target is set there. */
const crowds = [
  {
    subscribers: 1_000,
    rounds: [
      { inFlight: 1, posts: 400, atMost: 2.9 },
      { inFlight: 32, posts: 3_200, atMost: 0.46 },
    ],
  },
  {
    subscribers: 5_000,
    rounds: [
      { inFlight: 1, posts: 150 },
      { inFlight: 32, posts: 1_280 },
    ],
  },
];

interface Round {
  inFlight: number;
  posts: number;
  atMost?: number;
}

export async function measureFanOut(run: Run): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const { subscribers, rounds } of crowds) {
    const count = run.size(subscribers);
    const broker = await run.startBroker();
    const followers = run.startLoad<PublishHandlers>("publish");
    await followers.ask("connect", { url: broker.url, connections: 1 });
    await followers.ask("follow", { readers: count, follows: 1, authors: 1 });
    await followers.end();
    const load = run.startLoad<FanOutHandlers>("fan-out");
    await load.ask("open", { url: broker.url, count });
    for (const round of rounds) figures.push(...(await measureRound(run, broker, load, { count, ...round })));
    await load.end();
    await broker.stop();
  }
  return figures;
}

async function measureRound(
  run: Run,
  broker: BrokerProcess,
  load: ReturnType<typeof run.startLoad<FanOutHandlers>>,
  { count, inFlight, posts, atMost }: Round & { count: number },
): Promise<Figure[]> {
  const name = `fan-out to ${count.toLocaleString("en")}, ${inFlight} in flight`;
  await load.ask("fanOut", { posts: Math.ceil(posts / 10), inFlight });
  const {
    result,
    broker: spent,
    loopDelayMs,
  } = await run.phase(name, posts, (progress) =>
    broker.observe(() => load.ask("fanOut", { posts, inFlight }, progress)),
  );
  const deliveries = posts * count;
  const { p50Ms, p99Ms } = result.latency;
  const perDelivery = (seconds: number): number => (seconds * 1e6) / deliveries;
  const [user, system] = [perDelivery(spent.userSeconds), perDelivery(spent.systemSeconds)];
  const shared = { part: "fanout", loads: [result.spent], broker: spent };
  return [
    figureOf({
      ...shared,
      name: `${name}: broker CPU`,
      value: user + system,
      unit: "µs/delivery",
      ...(atMost !== undefined && { atMost }),
      note: `user ${user.toFixed(2)}, system ${system.toFixed(2)}; event loop delay p99 ${loopDelayMs.p99.toFixed(0)} ms, at most ${loopDelayMs.max.toFixed(0)} ms`,
    }),
    figureOf({
      ...shared,
      name: `${name}: rate`,
      value: deliveries / result.spent.seconds,
      unit: "deliveries/s",
      note: `to the last reader p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`,
    }),
  ];
}
