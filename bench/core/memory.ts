/* memory: what an idle session costs the broker, each with a live `home` that follows many. */

import type { Memory } from "../broker-process.ts";
import { type Figure, figureOf } from "../figure.ts";
import type { PublishHandlers } from "../load/publish.ts";
import type { ResumeHandlers } from "../load/resume.ts";
import type { Run } from "../run.ts";

const authors = 2_000;
const follows = 100;
/** 12 KB. */
const mostBytes = 12_000;
/** Sessions open before the first look, so that what the first ones bring into being is not counted. */
const warmUp = 500;

export async function measureMemory(run: Run): Promise<Figure[]> {
  const sessions = run.size(10_000);
  const before = run.size(warmUp);
  const readers = before + sessions;
  const data = await prepare(run, readers);
  // A fresh process: what it took to make the follows is not counted.
  const broker = await run.startBroker(data);
  const load = run.startLoad<ResumeHandlers>("resume");
  const crowd = { url: broker.url, device: "bench", from: "live", expected: 0 } as const;
  await load.ask("open", { ...crowd, first: 0, count: before });
  const empty = await broker.memory();
  const name = `memory of an idle session that follows ${follows}`;
  const { result, server: spent } = await run.phase(name, sessions, (progress) =>
    broker.observe(() => load.ask("open", { ...crowd, first: before, count: sessions }, progress)),
  );
  const full = await broker.memory();
  await load.end();
  await broker.stop();
  const perSession = (kind: keyof Memory): number => Math.round((full[kind] - empty[kind]) / sessions);
  const shared = { part: "memory", unit: "bytes", loads: [result.spent], broker: spent };
  return [
    figureOf({
      ...shared,
      name,
      value: perSession("anonymous"),
      atMost: mostBytes,
      note:
        `resident memory without mapped files, after a forced garbage collection, ${sessions.toLocaleString("en")} sessions; ` +
        `JavaScript heap ${perSession("heap").toLocaleString("en")}`,
    }),
    figureOf({
      ...shared,
      name: `${name}: with mapped files`,
      value: perSession("rss"),
      note: "also the pages of the store that were read for it: the system's cache, which it takes back when it needs it",
    }),
  ];
}

async function prepare(run: Run, readers: number): Promise<string> {
  const broker = await run.startBroker();
  const load = run.startLoad<PublishHandlers>("publish");
  await load.ask("connect", { url: broker.url, connections: 1 });
  await run.phase("memory: follows", readers * follows, (progress) =>
    load.ask("follow", { readers, follows, authors }, progress),
  );
  await load.end();
  await broker.stop();
  return broker.data;
}
