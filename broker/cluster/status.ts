/* Status: how the nodes of a cluster are. Whoever asks on the status subject is answered by every node that hears it. */

import { ErrorCode, type NatsConnection, NatsError, RequestStrategy } from "nats";

import type { Offset } from "../state/index.ts";

/** How long to wait for the next answer, and at most, in ms. */
const quietMs = 400;
const mostMs = 3_000;

const noResponders: string = ErrorCode.NoResponders;

/** What a node says of itself. */
export interface NodeStatus {
  /** Its name; not unique when nobody gave it one. */
  node: string;
  /** One run of the broker. */
  run: string;
  version: string;
  /** Where it listens. */
  url: string;
  sessions: number;
  /** Why it does not serve at present, or only reads; undefined when it does all. */
  trouble?: string | undefined;
  epoch: string;
  /** The offset of the last command applied. */
  head: Offset;
  /** Entries at or below it are gone. */
  floor: Offset;
  /** The log that it applies, and how far it has. */
  created: string;
  seq: number;
  isKeeper: boolean;
  /** When it started, in ms since the Unix epoch. */
  startedAt: number;
}

/** Answers until the connection is closed. Does not reject. */
export async function answerStatus(
  connection: NatsConnection,
  subject: string,
  status: () => NodeStatus | Promise<NodeStatus>,
): Promise<void> {
  for await (const question of connection.subscribe(subject)) {
    try {
      question.respond(JSON.stringify(await status()));
    } catch {
      // Who asked sees that this node does not answer.
    }
  }
}

/** What the nodes say that answer in time, by name. */
export async function askNodes(connection: NatsConnection, subject: string): Promise<NodeStatus[]> {
  const nodes: NodeStatus[] = [];
  try {
    const answers = await connection.requestMany(subject, "", {
      strategy: RequestStrategy.JitterTimer,
      maxWait: mostMs,
      jitter: quietMs,
    });
    for await (const answer of answers) nodes.push(answer.json<NodeStatus>());
  } catch (error) {
    if (!(error instanceof NatsError && error.code === noResponders)) throw error;
  }
  return nodes.sort((a, b) => (a.node < b.node ? -1 : a.node > b.node ? 1 : a.run < b.run ? -1 : 1));
}
