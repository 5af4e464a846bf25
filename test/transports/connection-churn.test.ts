/* Clients that come and go leave nothing behind, however they go and however many there were.
 *
 * What is asked is whether an object is alive after a full garbage collection, not how many bytes the process has: one
 * session kept by anything at all is one too many. A session is reached from its connection, its socket, its subscriptions
 * and its timer, so none of these can be kept without it. Sockets and clients' ends live in this process too: sockets are
 * counted with both ends. */

import { ServerResponse } from "node:http";
import { Socket } from "node:net";
import * as v8 from "node:v8";
import tap, { type Test } from "tap";

import { Outbox } from "../../broker/sessions/outbox.ts";
import { Session } from "../../broker/sessions/session.ts";
import { TokenAuthenticator } from "../../broker/sessions/token-authenticator.ts";
import { Subscription } from "../../broker/streams/index.ts";
import { SessionBroker, type SessionBrokerOptions } from "../sessions/session-broker.ts";
import type { SessionClient } from "../sessions/session-client.ts";
import { EventReader } from "./event-reader.ts";
import { call, secret, startServer } from "./server.ts";
import { prepare, turn, visit, wayOf } from "./visits.ts";

const rounds = 3;
const clientsInRound = 80;
/** Of `/v1/stream`. */
const readers = 20;
/** Looks, a turn of the event loop apart: a handle that is closed is let go of some turns later. */
const mostLooks = 20;

type Class = new (...of: never[]) => object;

const day = 86_400_000;

for (const [how, options] of [
  ["", { expiresAt: Date.now() + day }],
  [", compressed", { compress: true }],
  [", with tokens", { authenticator: await TokenAuthenticator.create({ secret }) }],
] as const)
  await tap.test(`WebSocket clients that come and go leave no object behind${how}`, (t) => churn(t, options));

async function churn(t: Test, options: SessionBrokerOptions): Promise<void> {
  const broker = await SessionBroker.for(t, options);
  const users = Array.from({ length: 20 }, (_, i) => `u${i}`);
  const hasToken = options.authenticator !== undefined;
  const thread = await prepare(broker, users, hasToken);
  const sockets = count(Socket);
  let interestBytes: number | undefined;

  for (let round = 1; round <= rounds; round++) {
    const halfOpen: SessionClient[] = [];
    await Promise.all(
      Array.from({ length: clientsInRound }, async (_, i) => {
        const user = users[i % users.length]!;
        const client = await visit(broker, { user, thread, way: wayOf(i), hasToken });
        if (wayOf(i) === "half-open") halfOpen.push(client);
        else await client.closed;
      }),
    );
    while (broker.sessions.count > halfOpen.length) await turn();
    t.equal(broker.sessions.count, halfOpen.length, `round ${round}: who says nothing is still there`);
    await broker.ping();
    await broker.ping(); // nobody has answered the first
    while (broker.sessions.count > 0) await turn();
    for (const client of halfOpen) client.terminate();
    await Promise.all(halfOpen.splice(0).map((client) => client.closed)); // nor is one kept here
    await broker.cursors.flush();
    await broker.streams.settled();
    await broker.streams.tick(); // topics without readers are given back

    const { subscriptions, catchingUp, interestBytes: bytes } = broker.streams.stats;
    t.same({ subscriptions, catchingUp }, { subscriptions: 0, catchingUp: 0 });
    t.equal(bytes, interestBytes ?? bytes, "the interest graph is as large as after the round before");
    interestBytes = bytes;
  }
  await leftBehind(t, { Session, Subscription, Outbox });
  t.ok(await settles(() => count(Socket) <= sockets), "no socket, at either end");
  t.equal(broker.compressed > 0, options.compress === true, "compressed if it was to be");
  t.same(broker.faults, []);
}

await tap.test("readers of /v1/stream that come and go leave no object behind", async (t) => {
  const { url, streams, sessions } = await startServer(t);
  // Each has a post of its own to read: what is kept of an entry must not keep who read it last.
  for (let i = 0; i < readers; i++) {
    const reader = await EventReader.open(`${url}/v1/stream?stream=home&user=alice&from=live`);
    await reader.expect("live");
    await call(url, "POST /v1/posts?user=alice", { body: { text: `post ${i}` } });
    await reader.expect("post");
    reader.close();
  }
  while (sessions.count > 0) await turn();
  await streams.settled();
  t.equal(streams.stats.subscriptions, 0);
  await leftBehind(t, { Session, Subscription, Outbox, ServerResponse });
});

/** Asserts that nothing of these classes is alive. */
async function leftBehind(t: Test, classes: Record<string, Class>): Promise<void> {
  for (const [name, each] of Object.entries(classes)) {
    t.ok(await settles(() => count(each) === 0), `no ${name}`);
  }
}

/** How many are alive after a full garbage collection. */
function count(of: Class): number {
  return v8.queryObjects(of, { format: "count" });
}

/** Whether it becomes so within some turns of the event loop. */
async function settles(isSo: () => boolean): Promise<boolean> {
  for (let look = 1; look <= mostLooks; look++) {
    if (isSo()) return true;
    await turn();
  }
  return false;
}
