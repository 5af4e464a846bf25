/* Status: how the nodes of a cluster are. Whoever asks on the status subject is answered by every node that hears it. */

import { ErrorCode, type Msg, type NatsConnection, NatsError, RequestStrategy, createInbox } from "nats";

import type { Offset } from "../state/index.ts";
import { pause } from "./connection.ts";

/** How long to wait for the next answer, and at most, in ms. */
const quietMs = 400;
const mostMs = 3_000;
/** How long to wait for answers where none is to be missed, in ms. */
const patienceMs = 2_000;

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
  /** The level of its store, and the levels it reads (state/levels.ts). 0.1.0 says neither: 1, and 1 alone. */
  level?: number;
  levels?: [oldest: number, newest: number];
  /** The message of the log that it cannot apply and is stopped at. `isNewer`: a newer version reads it. */
  stopped?: { seq: number; isNewer: boolean } | undefined;
  /** Of the keeper: what raising the level waits for. */
  raising?: string | undefined;
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
  return nodes.sort(byName);
}

/** The same for who can wait: one that is slow to answer is not missed because all others were quick. Rejects with the signal's reason
 *  when that is aborted. @throws NatsError */
export async function awaitNodes(
  connection: NatsConnection,
  subject: string,
  signal: AbortSignal,
): Promise<NodeStatus[]> {
  const nodes: NodeStatus[] = [];
  let failure: NatsError | undefined;
  const inbox = createInbox();
  const subscription = connection.subscribe(inbox, {
    callback: (error, message) => {
      if (error !== null) failure ??= error;
      else if (message.data.length > 0) nodes.push(...parsed(message)); // else nobody listens
    },
  });
  try {
    connection.publish(subject, "", { reply: inbox });
    await pause(patienceMs, signal);
  } finally {
    subscription.unsubscribe();
  }
  if (failure !== undefined) throw failure;
  return nodes.sort(byName);
}

/** Nothing of an answer that is none. */
function parsed(message: Msg): NodeStatus[] {
  try {
    return [message.json<NodeStatus>()];
  } catch {
    return [];
  }
}

function byName(a: NodeStatus, b: NodeStatus): number {
  return a.node < b.node ? -1 : a.node > b.node ? 1 : a.run < b.run ? -1 : 1;
}
