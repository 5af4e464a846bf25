/* resume: a crowd of readers, each some posts behind, that all come at once: how long until the last is live.
 *
 * Follows, cursors and posts are made beforehand; what is measured begins with the first connection. */

import { availableParallelism } from "node:os";

import { type Figure, figureOf } from "../figure.ts";
import type { PublishHandlers } from "../load/publish.ts";
import type { ResumeHandlers } from "../load/resume.ts";
import { openFileLimit } from "../machine.ts";
import type { BrokerProcess, Run } from "../run.ts";

const authors = 2_000;
/** Authors that a reader follows; each publishes once, so it is also how many posts a reader is behind. */
const follows = 100;
const mostSeconds = 10;
const device = "bench";
/** Files that a process has open beside its sockets. */
const otherFiles = 128;
const mostLoads = 4;

export async function measureResume(run: Run): Promise<Figure[]> {
  const wanted = run.size(20_000);
  const limit = openFileLimit();
  const readers = Math.min(wanted, limit - otherFiles);
  const broker = await run.startBroker();
  await prepare(run, broker, readers);

  const loads = crowdsOf(readers).map(({ first, count }) => {
    return { first, count, process: run.startLoad<ResumeHandlers>("resume") };
  });
  const name = `${readers.toLocaleString("en")} readers resume, ${follows} posts behind`;
  const {
    result,
    server: spent,
    loopDelayMs,
  } = await run.phase(name, readers, async (progress) => {
    const live = loads.map(() => 0);
    return broker.observe(() =>
      Promise.all(
        loads.map(({ process, first, count }, i) =>
          process.ask(
            "open",
            { url: broker.url, first, count, device, from: "resume", expected: follows },
            (done) => {
              live[i] = done;
              progress(live.reduce((sum, each) => sum + each, 0));
            },
          ),
        ),
      ),
    );
  });
  const faulty = result.reduce((sum, { faulty: each }) => sum + each, 0);
  if (faulty > 0) throw new Error(`${name}: ${faulty} of them did not get exactly ${follows} posts`);
  await Promise.all(loads.map(({ process }) => process.end()));
  await broker.stop();

  const posts = readers * follows;
  const fewer =
    readers === wanted
      ? ""
      : `; not ${wanted.toLocaleString("en")}, since a process may open ${limit.toLocaleString("en")} files here: raise it with ulimit -n ${wanted + otherFiles}`;
  return [
    figureOf({
      part: "resume",
      name,
      value: spent.seconds,
      unit: "s",
      atMost: mostSeconds,
      loads: result.map((each) => each.spent),
      broker: spent,
      note: `from the first connection to the last live; ${Math.round(posts / spent.seconds).toLocaleString("en")} posts/s; event loop delay p99 ${loopDelayMs.p99.toFixed(0)} ms${fewer}`,
    }),
  ];
}

async function prepare(run: Run, broker: BrokerProcess, readers: number): Promise<void> {
  const load = run.startLoad<PublishHandlers>("publish");
  await load.ask("connect", { url: broker.url, connections: 1 });
  await run.phase("resume: follows", readers * follows, (progress) =>
    load.ask("follow", { readers, follows, authors }, progress),
  );
  await load.ask("setCursors", { readers, device });
  await load.ask("publish", { posts: authors, authors, inFlight: 1_024 });
  await load.end();
}

/** The readers, divided among as many processes as leave the broker a core. */
function crowdsOf(readers: number): { first: number; count: number }[] {
  const processes = Math.max(1, Math.min(mostLoads, availableParallelism() - 1));
  const each = Math.ceil(readers / processes);
  return Array.from({ length: processes }, (_, i) => ({
    first: i * each,
    count: Math.min(each, readers - i * each),
  })).filter(({ count }) => count > 0);
}
