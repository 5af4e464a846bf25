/* A follow graph from a file, plain or gzip:
 *
 *     a b                  a follows b
 *     a b timestamp kind   an interaction (RT, MT or RE) of a with b: a follows b, and a is as active as it has lines */

import { InteractionGraph } from "../../clients/cli/replay/graph.ts";
import { readLines } from "../../clients/cli/lines.ts";
import { parseInteraction } from "../../clients/cli/replay/interactions.ts";
import type { Graph } from "./generate.ts";

export interface ReadGraph extends Graph {
  /** Lines of each user, of interactions; undefined for a file of follows. */
  activity: Uint32Array | undefined;
}

/** @throws CommandError `bad_file`, with the line */
export async function readGraph(path: string): Promise<ReadGraph> {
  const graph = new InteractionGraph();
  const lines: number[] = [];
  let isOfInteractions = false;
  for await (const { text, number } of readLines(path)) {
    const isInteraction = text.split(/\s+/).length > 2;
    isOfInteractions ||= isInteraction;
    // A plain follow is read as an interaction of no matter which kind and time.
    const interaction = parseInteraction(isInteraction ? text : `${text} 0 RT`, number);
    graph.add(interaction);
    const actor = graph.numberOf(interaction.actor);
    lines[actor] = (lines[actor] ?? 0) + 1;
  }
  const users = graph.userCount;
  const offsets = new Uint32Array(users + 1);
  const followers = new Uint32Array(users);
  for (const { follower, followed } of graph.follows()) {
    offsets[follower + 1]!++;
    followers[followed]!++;
  }
  for (let user = 0; user < users; user++) offsets[user + 1]! += offsets[user]!;
  const next = offsets.slice();
  const follows = new Uint32Array(graph.followCount);
  for (const { follower, followed } of graph.follows()) follows[next[follower]!++] = followed;
  const activity = isOfInteractions
    ? Uint32Array.from({ length: users }, (_, user) => lines[user] ?? 0)
    : undefined;
  return { users, offsets, follows, followers, activity };
}
