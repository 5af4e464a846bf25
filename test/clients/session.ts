/* A client in session with a scripted broker, both gone when the test ends. */

import type { Test } from "tap";

import type { Client } from "../../clients/core/client.ts";
import { connect, type ConnectOptions, type Stream, type StreamEvent } from "../../clients/node/index.ts";
import { type Peer, ScriptedBroker } from "./scripted-broker.ts";

/** Comes back at once, so that no test waits. */
export const quick = { initialMs: 1, maxMs: 1 };

export async function startBroker(t: Test): Promise<ScriptedBroker> {
  const broker = await ScriptedBroker.start();
  t.teardown(() => broker.stop());
  return broker;
}

export async function startSession(
  t: Test,
  options: ConnectOptions = {},
  hello: object = {},
): Promise<{ broker: ScriptedBroker; me: Client; peer: Peer }> {
  const broker = await startBroker(t);
  const connecting = connect(broker.url, { user: "alice", reconnect: quick, ...options });
  const peer = await broker.peer();
  await peer.welcome(hello);
  const me = await connecting;
  t.teardown(() => me.close());
  return { broker, me, peer };
}

/** The next event, which must be there or come. */
export async function nextEvent(stream: Stream): Promise<StreamEvent> {
  const result = await stream.next();
  if (result.done === true) throw new Error("the stream ended; an event was expected");
  return result.value;
}

export async function nextCursors(stream: Stream, count: number): Promise<string[]> {
  const cursors: string[] = [];
  while (cursors.length < count) cursors.push((await nextEvent(stream)).cursor);
  return cursors;
}
