/* Replay: the phases of a replay, from the file to the report. */

import { limits } from "../../../protocol/limits.ts";
import { fold } from "../../../protocol/names.ts";
import type { Client } from "../../core/index.ts";
import { compareCursors } from "../../core/cursors.ts";
import { CommandError, print } from "../command.ts";
import { openAnother, openSession } from "../connection.ts";
import { addFaults, compare, type Entry, ExpectationIndex, type Faults } from "./expectation.ts";
import { InteractionGraph } from "./graph.ts";
import { InFlight } from "./in-flight.ts";
import type { ReplayOptions } from "./index.ts";
import { readInteractions } from "./interactions.ts";
import { runPhase } from "./progress.ts";
import { Publisher } from "./publisher.ts";
import { sample, seededRandom } from "./random.ts";
import { isFlawless, type ReplayReport, toJson, toTable } from "./report.ts";
import { readStoreBytes } from "./store-bytes.ts";
import { subscribedStreams, Subscribers } from "./subscribers.ts";

/** Nothing arrived for so long: what is missing by then does not come. */
const stallMs = 60_000;

/** Replays `file` and prints the report. Answers the exit status. */
export async function replay(file: string, options: ReplayOptions, signal: AbortSignal): Promise<number> {
  const graph = await readGraph(file, options, signal);
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32);
  const readers = chooseReaders(graph, options, seed);
  process.stderr.write(
    `${graph.interactions} interactions, ${graph.userCount} users, ${graph.followCount} follows; ` +
      `${readers.length} subscribers, seed ${seed}\n`,
  );

  const session = await openSession(
    options.token === undefined ? { ...options, user: options.user ?? "replay" } : options,
    signal,
  );
  const subscribers = new Subscribers();
  try {
    const follows = await makeFollows({ session, graph, options, signal });
    await openSubscribers({ subscribers, readers, graph, options, signal });
    const missingFollows = await checkFollows(subscribers, graph);
    const published = await publish({ session, subscribers, graph, file, options, signal });
    const { misordered, entries } = inLogOrder(published.publisher.entries);
    const checked = compareAll(subscribers, graph, entries);
    const { publisher, ...timings } = published;
    const report: ReplayReport = {
      file,
      seed,
      interactions: graph.interactions,
      users: graph.userCount,
      subscribers: readers.length,
      follows: graph.followCount,
      ...follows,
      missingFollows,
      published: publisher.counts,
      ...timings,
      ...checked,
      deliveries: subscribers.deliveries,
      reconnects: subscribers.reconnects,
      misordered,
      wrongAnswers: publisher.wrongAnswers,
    };
    await print(options.json ? `${JSON.stringify(toJson(report))}\n` : `\n${toTable(report)}`);
    return isFlawless(report) ? 0 : 1;
  } finally {
    await Promise.all([session.close(), subscribers.close()]);
  }
}

async function readGraph(
  file: string,
  options: ReplayOptions,
  signal: AbortSignal,
): Promise<InteractionGraph> {
  const graph = new InteractionGraph();
  for await (const interaction of readInteractions(file, options)) {
    signal.throwIfAborted();
    graph.add(interaction);
  }
  if (graph.interactions === 0) throw new CommandError("bad_file", `${file}: there is no interaction in it`);
  return graph;
}

function chooseReaders(graph: InteractionGraph, options: ReplayOptions, seed: number): number[] {
  const chosen = sample(options.subscribers, graph.userCount, seededRandom(seed));
  return [...new Set([...graph.mostMentioned(options.mostMentioned), ...chosen])];
}

interface Work {
  session: Client;
  graph: InteractionGraph;
  options: ReplayOptions;
  signal: AbortSignal;
}

async function makeFollows({ session, graph, options, signal }: Work) {
  const before = await readStoreBytes(options);
  const inFlight = new InFlight(options.concurrency);
  let done = 0;
  const { seconds: followSeconds } = await runPhase("following", graph.followCount, async (update) => {
    for (const { follower, followed } of graph.follows()) {
      signal.throwIfAborted();
      await inFlight.start(async () => {
        await session.follow(graph.handleOf(followed), { as: graph.handleOf(follower) });
        update(++done);
      });
    }
    await inFlight.drain();
  });
  const followBytes = difference(await readStoreBytes(options), before);
  return { followSeconds, ...(followBytes === undefined ? {} : { followBytes }) };
}

interface Opening extends Omit<Work, "session"> {
  subscribers: Subscribers;
  readers: number[];
}

async function openSubscribers({ subscribers, readers, graph, options, signal }: Opening): Promise<void> {
  let opened = 0;
  await runPhase("subscribing", readers.length, (update) =>
    subscribers.open({
      users: readers,
      open: (user) => openAnother({ ...options, user: graph.handleOf(user) }, signal),
      signal,
      onOpened: () => update(++opened),
    }),
  );
}

/** How many follows of the subscribers the broker does not list. @throws CommandError when it lists others: they would receive
 *  what the file does not account for. */
async function checkFollows(subscribers: Subscribers, graph: InteractionGraph): Promise<number> {
  const wanted = graph.followedBy(subscribers.all.map(({ user }) => user));
  let missing = 0;
  for (const { user, session } of subscribers.all) {
    const followed = wanted.get(user) ?? new Set();
    const listed = await allFollowing(session);
    const handles = new Set([...followed].map((number) => fold(graph.handleOf(number))));
    const extra = listed.find((handle) => !handles.has(fold(handle)));
    if (extra !== undefined) {
      throw new CommandError(
        "not_empty",
        `${graph.handleOf(user)} already follows ${extra}, which is not in the file`,
        { mend: "use an empty broker, or --prefix" },
      );
    }
    missing += followed.size - listed.length;
  }
  return missing;
}

async function allFollowing(session: Client): Promise<string[]> {
  const handles: string[] = [];
  let after: string | undefined;
  do {
    const page = await session.following(session.user, {
      limit: limits.pageUsers,
      ...(after === undefined ? {} : { after }),
    });
    handles.push(...page.users);
    after = page.after;
  } while (after !== undefined);
  return handles;
}

interface Publishing extends Work {
  subscribers: Subscribers;
  file: string;
}

async function publish({ session, subscribers, graph, file, options, signal }: Publishing) {
  const before = await readStoreBytes(options);
  const publisher = new Publisher({ session, graph, signal, ...options });
  const startMs = performance.now();
  const { seconds: publishSeconds } = await runPhase("publishing", graph.interactions, async (update) => {
    const show = (): void => update(publisher.counts.interactions, `  ${subscribers.deliveries} deliveries`);
    const showing = setInterval(show, 100);
    try {
      await publisher.publish(readInteractions(file, options));
    } finally {
      clearInterval(showing);
      show();
    }
  });
  const streamsBehind = await arrive({ subscribers, head: headOf(publisher.entries), signal });
  const publishBytes = difference(await readStoreBytes(options), before);
  return {
    publisher,
    publishSeconds,
    deliverySeconds: Math.max(0, subscribers.lastDeliveryMs - startMs) / 1_000,
    streamsBehind,
    ...(publishBytes === undefined ? {} : { publishBytes }),
  };
}

/** Waits for what was published to arrive; a quiet stream gets there when the broker next tells it its cursor. */
async function arrive(arriving: {
  subscribers: Subscribers;
  head: string;
  signal: AbortSignal;
}): Promise<number> {
  const { subscribers, head, signal } = arriving;
  const streams = subscribers.all.length * subscribedStreams.length;
  const { result } = await runPhase("arriving", streams, (update) =>
    subscribers.reach(head, { stallMs, signal, onReached: (reached) => update(reached) }),
  );
  return result;
}

/** The cursor of the last entry of the log. */
function headOf(entries: readonly Entry[]): string {
  return entries.reduce((head, { cursor }) => (head === "" || precedes(head, cursor) ? cursor : head), "");
}

/** The entries as the log has them, and how many of them do not follow the one sent before. */
function inLogOrder(sent: readonly Entry[]): { entries: Entry[]; misordered: number } {
  const misordered = sent.filter((entry, at) => {
    const last = sent[at - 1];
    return last !== undefined && !precedes(last.cursor, entry.cursor);
  }).length;
  const entries =
    misordered === 0 ? [...sent] : [...sent].sort((a, b) => (precedes(a.cursor, b.cursor) ? -1 : 1));
  return { entries, misordered };
}

function precedes(a: string, b: string): boolean {
  const order = compareCursors(a, b);
  if (order === undefined) {
    throw new CommandError(
      "epoch_mismatch",
      `the broker's history changed during the replay: ${a}, then ${b}`,
    );
  }
  return order < 0;
}

function compareAll(subscribers: Subscribers, graph: InteractionGraph, entries: readonly Entry[]) {
  const index = new ExpectationIndex(entries);
  const following = graph.followedBy(subscribers.all.map(({ user }) => user));
  const faults: Record<string, Faults> = {};
  let expectedDeliveries = 0;
  for (const { user, streams } of subscribers.all) {
    const reader = { user, following: following.get(user) ?? new Set<number>() };
    for (const name of subscribedStreams) {
      const expected = index[name](reader);
      expectedDeliveries += expected.length;
      const found = compare(expected, streams[name].received);
      faults[name] = faults[name] === undefined ? found : addFaults(faults[name], found);
    }
  }
  return { faults, expectedDeliveries };
}

function difference(after: number | undefined, before: number | undefined): number | undefined {
  return after === undefined || before === undefined ? undefined : after - before;
}
