/* graph: a follow graph of a real one's shape; and offline followers cost nothing.
 *
 *   graph made ─► some users online ─► posts by activity, mentions by fame ─► measured
 *                                  └─► a whale's offline followers grow: 10^3, 10^4, 10^5, 10^6 ─► measured at each
 *
 * The online sessions, the posts and their order stay the same at every step; so what a step changes is the doing of the
 * offline followers alone. The whale whose followers grow is an author of its own, whom all who are online follow, and
 * every tenth post is its. Most posts reach nobody who is online, as in life: these count as arrived once they are answered. */

import type { Follows } from "../load/crowd.ts";
import { sample, seededRandom } from "../../clients/cli/replay/random.ts";
import { type Graph, weightedPicker } from "../graph/generate.ts";
import type { Row } from "../report/result.ts";
import { authorName } from "../targets/whalesong-dialect.ts";
import { sliceFollows } from "./follows.ts";
import { Loads } from "./loads.ts";
import { measureRound } from "./measure-round.ts";
import { warmUpPart } from "./rounds.ts";
import type { Site } from "./workload.ts";

export interface GraphWorkloadOptions {
  graph: Graph & { activity?: Uint32Array | undefined };
  /** Users with a session; those who follow most among them. */
  online: number;
  inFlight: number;
  /** Offline followers of the growing whale, ascending: a row for each. */
  offline: readonly number[];
  seed: number;
  seconds: number;
  payloadBytes: number;
  processes: number | undefined;
}

export const graphDefaults = {
  users: 20_000,
  meanFollowers: 40,
  whales: [1_000_000, 100_000, 10_000],
  heavyReaders: [100_000, 10_000, 1_000],
  online: 2_000,
  inFlight: 32,
  offline: [1_000, 10_000, 100_000, 1_000_000],
  seed: 1,
} as const;

/** The order of the posts comes round after so many. */
const scheduleLength = 65_536;
/** Every so-manieth post is the growing whale's, and every so-manieth mentions someone. */
const whaleEvery = 10;
const mentionEvery = 10;
const headCount = 997; // a prime, so that texts and authors go round at different paces

export async function measureGraph(site: Site, options: GraphWorkloadOptions): Promise<Row[]> {
  const { graph, offline, seed, seconds, payloadBytes, processes, inFlight } = options;
  const { run } = site;
  const name = run.makeName();
  const random = seededRandom(seed);
  const whale = graph.users;
  const { all, online } = arrange(graph, options.online, whale, random);
  const heads = headsOf(graph, name, random);
  const loads = await Loads.start({
    run,
    dialect: site.running.dialect(name),
    processes,
    follows: sliceFollows(all, 0, online),
    topicCount: graph.users + 1,
    schedule: scheduleOf(graph, whale, random),
    payloadBytes,
    heads,
  });
  await run.phase("graph: follows of those online", loads.follows, (progress) => loads.prepare(progress));
  const others = sliceFollows(all, online, graph.users);
  await run.phase("graph: follows of the others", others.topics.length, (progress) =>
    loads.prepareOthers(others, progress),
  );
  await run.phase("graph: connect", online, (progress) => loads.open("live", progress));
  await loads.openPublishers();

  const rows: Row[] = [];
  let grown = 0;
  for (const count of offline) {
    const more = count - grown;
    const follows: Follows = {
      first: graph.users + grown,
      offsets: Uint32Array.from({ length: more + 1 }, (_, i) => i),
      topics: new Uint32Array(more).fill(whale),
    };
    await run.phase(`graph: ${count.toLocaleString("en")} offline followers`, more, (progress) =>
      loads.prepareOthers(follows, progress),
    );
    grown = count;
    rows.push(
      await measureRound({
        site,
        loads,
        workload: "graph",
        name: `${online.toLocaleString("en")} online, ${count.toLocaleString("en")} offline followers`,
        parameters: {
          users: graph.users,
          follows: graph.follows.length,
          online,
          offline: count,
          inFlight,
          payloadBytes,
        },
        pace: { kind: "closed", inFlight, seconds },
        warmUpSeconds: seconds * warmUpPart,
      }),
    );
  }
  await loads.close();
  const [first, last] = [rows[0], rows.at(-1)];
  if (last !== undefined && first !== last && first?.cpu !== undefined && last.cpu !== undefined) {
    const ratio = (last.cpu.userUs + last.cpu.systemUs) / (first.cpu.userUs + first.cpu.systemUs);
    last.notes.push(
      `A delivery took ${ratio.toFixed(2)} times the CPU that it took with ${offline[0]!.toLocaleString("en")} offline followers.`,
    );
  }
  return rows;
}

/** Numbers the users anew, those online first, and lets each of these follow the growing whale too. */
function arrange(
  graph: Graph,
  wanted: number,
  whale: number,
  random: () => number,
): { all: Follows; online: number } {
  const followsOf = (user: number): number => graph.offsets[user + 1]! - graph.offsets[user]!;
  const readers = sample(graph.users, graph.users, random).filter((user) => followsOf(user) > 0);
  const online = Math.min(wanted, readers.length);
  // Who follows most is online: a heavy reader's session is to be among those measured.
  const heaviest = readers.toSorted((a, b) => followsOf(b) - followsOf(a)).slice(0, Math.min(3, online));
  const chosen = new Set(heaviest);
  for (const user of readers) if (chosen.size < online) chosen.add(user);
  const order = [...chosen];
  for (let user = 0; user < graph.users; user++) if (!chosen.has(user)) order.push(user);

  const offsets = new Uint32Array(graph.users + 1);
  const topics = new Uint32Array(graph.follows.length + online);
  let at = 0;
  for (const [number, user] of order.entries()) {
    topics.set(graph.follows.subarray(graph.offsets[user], graph.offsets[user + 1]), at);
    at += followsOf(user);
    if (number < online) topics[at++] = whale;
    offsets[number + 1] = at;
  }
  return { all: { first: 0, offsets, topics }, online };
}

/** Who posts, in turn: by activity as the file has it, or else the more followers, the more posts, with much chance. */
function scheduleOf(
  graph: Graph & { activity?: Uint32Array | undefined },
  whale: number,
  random: () => number,
): Uint32Array {
  const weights = Float64Array.from({ length: graph.users }, (_, user) =>
    graph.activity === undefined
      ? Math.sqrt(1 + graph.followers[user]!) * -Math.log(1 - random())
      : graph.activity[user]!,
  );
  const pick = weightedPicker(weights, random);
  return Uint32Array.from({ length: scheduleLength }, (_, i) => (i % whaleEvery === 0 ? whale : pick()));
}

/** What texts begin with: every tenth mentions someone, the famous most often. */
function headsOf(graph: Graph, name: string, random: () => number): string[] {
  const pick = weightedPicker(Float64Array.from(graph.followers), random);
  return Array.from({ length: headCount }, (_, i) =>
    i % mentionEvery === 0 ? ` @${authorName(name, pick())} ` : "",
  );
}
