/* A loop slower than its stream: what the SDK holds is bounded, and nothing else on the connection waits for it. */

import tap, { type Test } from "tap";

import { connectOn } from "../../clients/core/client.ts";
import type { Platform } from "../../clients/core/platform.ts";
import { clientLimits, type Client, type Stream } from "../../clients/node/index.ts";
import { nodePlatform } from "../../clients/node/platform.ts";
import { type Asked, type Peer, post } from "./scripted-broker.ts";
import { nextEvent, startBroker, startSession } from "./session.ts";

const backlog = 3 * clientLimits.bufferedEvents;

await tap.test("a body that awaits the broker gets its answers, however full the buffer is", async (t) => {
  const { me, peer } = await startSession(t);
  const served = serve(peer, { home: backlog });
  let seen = 0;
  for await (const event of me.stream("home", { from: "earliest" })) {
    seen++;
    if (event.cursor !== `e1-${seen}`) t.equal(event.cursor, `e1-${seen}`);
    if (seen % 100 === 1) await me.post(`re: ${event.cursor}`);
    if (seen === backlog) break;
  }
  t.equal(seen, backlog);
  await me.close();
  await served;
});

await tap.test(
  "a stream that nobody reads is parked at its maximum, and later read without a gap",
  async (t) => {
    const { me, peer } = await startSession(t);
    const parked = deferred<Asked>();
    const served = serve(peer, { home: backlog, mentions: 10 }, parked.resolve);
    const unread = me.stream("home", { from: "earliest" });
    const mentions = me.stream("mentions", { from: "earliest" });
    for (let offset = 1; offset <= 10; offset++) t.equal((await nextEvent(mentions)).cursor, `e1-${offset}`);
    const hungry = mentions.next();
    t.match(await parked.promise, { sub: 1 });
    await me.ping();
    await checkAll(t, unread, backlog);
    mentions.close();
    await hungry;
    await me.close();
    await served;
  },
);

await tap.test(
  "where the platform can pause, a full buffer stops the reading until the loop goes on",
  async (t) => {
    const broker = await startBroker(t);
    const paused = deferred<undefined>();
    const resumed = deferred<undefined>();
    const platform: Platform = {
      ...nodePlatform,
      openSocket(url, subprotocol, events) {
        const socket = nodePlatform.openSocket(url, subprotocol, events);
        return {
          send: (frame) => socket.send(frame),
          close: (code, reason) => socket.close(code, reason),
          destroy: () => socket.destroy(),
          pause() {
            socket.pause?.();
            paused.resolve(undefined);
          },
          resume() {
            socket.resume?.();
            resumed.resolve(undefined);
          },
        };
      },
    };
    const { me, peer } = await meet(t, broker, platform);
    const served = serve(peer, { home: backlog });
    const unread = me.stream("home", { from: "earliest" });
    await paused.promise;
    await checkAll(t, unread, backlog);
    await resumed.promise;
    await me.close();
    await served;
  },
);

await tap.test("where it cannot, a full buffer is parked", async (t) => {
  const broker = await startBroker(t);
  const platform: Platform = {
    ...nodePlatform,
    openSocket(url, subprotocol, events) {
      const socket = nodePlatform.openSocket(url, subprotocol, events);
      return {
        send: (frame) => socket.send(frame),
        close: (code, reason) => socket.close(code, reason),
        destroy: () => socket.destroy(),
      };
    },
  };
  const { me, peer } = await meet(t, broker, platform);
  const parked = deferred<Asked>();
  const served = serve(peer, { home: backlog }, parked.resolve);
  const unread = me.stream("home", { from: "earliest" });
  await parked.promise;
  await checkAll(t, unread, backlog);
  await me.close();
  await served;
});

await tap.test("a full stream waits for its loop over a reconnection too", async (t) => {
  const { me, peer, broker } = await startSession(t);
  const parked = deferred<Asked>();
  const served = serve(peer, { home: backlog, mentions: 0 }, parked.resolve);
  const unread = me.stream("home", { from: "earliest" });
  const hungry = me.stream("mentions").next();
  await parked.promise;
  peer.ws.terminate();
  await served;
  const again = await broker.peer();
  await again.welcome();
  t.match(await again.agree(), { stream: "mentions" });
  const servedAgain = serve(again, { home: backlog });
  await checkAll(t, unread, backlog);
  await me.close();
  await hungry;
  await servedAgain;
});

async function checkAll(t: Test, stream: Stream, count: number): Promise<void> {
  let wrong = 0;
  for (let offset = 1; offset <= count; offset++) {
    if ((await nextEvent(stream)).cursor !== `e1-${offset}`) wrong++;
  }
  t.equal(wrong, 0, "every event once, in order");
}

async function meet(
  t: Test,
  broker: Awaited<ReturnType<typeof startBroker>>,
  platform: Platform,
): Promise<{ me: Client; peer: Peer }> {
  const connecting = connectOn(platform, broker.url, { user: "alice" });
  const peer = await broker.peer();
  await peer.welcome();
  const me = await connecting;
  t.teardown(() => me.close());
  return { me, peer };
}

/** Serves posts 1…n of each stream, from the cursor asked for, until the socket ends. */
async function serve(
  peer: Peer,
  streams: Record<string, number>,
  unsubscribed?: (asked: Asked) => void,
): Promise<void> {
  const stopped = new Set<number>();
  const push = (sub: number, offset: number, last: number): void => {
    for (const end = Math.min(last, offset + 499); offset <= end; offset++)
      peer.send({ sub, ...post(offset) });
    if (offset <= last) setImmediate(() => void (stopped.has(sub) || push(sub, offset, last)));
  };
  const ended = peer.ended.then(() => undefined);
  for (;;) {
    const asked = await Promise.race([peer.take(), ended]);
    if (asked === undefined) return;
    const sub = asked["sub"] as number;
    if (asked.op === "subscribe") {
      const from =
        asked["from"] === undefined || asked["from"] === "earliest" ? "e1-0" : (asked["from"] as string);
      peer.ok(asked, { sub, stream: asked["stream"], cursor: from });
      stopped.delete(sub);
      push(sub, Number(from.slice(3)) + 1, streams[asked["stream"] as string] ?? 0);
    } else if (asked.op === "unsubscribe") {
      stopped.add(sub);
      peer.ok(asked, { sub });
      unsubscribed?.(asked);
    } else if (asked.id !== undefined) {
      peer.ok(asked, { id: "p1", cursor: "e1-1" });
    }
  }
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}
