/* What it takes to be a large crowd: everyone says in time that they are there, ports do not run short, and who is sent
 * away tells why. */

import { once } from "node:events";
import { type AddressInfo, type Socket, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import tap, { type Test } from "tap";

import { Crowd, type CrowdOptions } from "../../bench/load/crowd.ts";
import type { Dialect, Script } from "../../bench/load/dialect.ts";
import { KeepAlive } from "../../bench/load/keep-alive.ts";
import { comesFromMany, sourceAddress } from "../../bench/load/source-address.ts";

const roundMs = 20_000;
const tickMs = 100;

await tap.test("everyone has a turn each round, also while they become more and when the load hangs", (t) => {
  const most = 20_000;
  const turns = new KeepAlive(roundMs, 0);
  /** When each came, or had its last turn. */
  const lastMs: number[] = [];
  let longestMs = 0;
  let taken = 0;
  const hangMs = 3_000;
  for (let nowMs = tickMs; nowMs <= 8 * roundMs; nowMs += nowMs % 17_000 === 0 ? hangMs : tickMs) {
    // They come quickly first, then ever more slowly, for two thirds of the time.
    const count = Math.floor(most * Math.min(1, nowMs / (5 * roundMs)) ** 0.7);
    while (lastMs.length < count) lastMs.push(nowMs);
    turns.advance(nowMs, count, (index) => {
      longestMs = Math.max(longestMs, nowMs - lastMs[index]!);
      lastMs[index] = nowMs;
      taken++;
    });
  }
  for (const last of lastMs) longestMs = Math.max(longestMs, 8 * roundMs - last);
  t.ok(longestMs <= roundMs + hangMs + tickMs, `the longest anyone waited is ${longestMs} ms`);
  t.ok(taken <= most * 8, `${taken} turns are one a round and no more`);
  t.end();
});

await tap.test("who hung for longer than a round lets each have one turn", (t) => {
  const turns = new KeepAlive(roundMs, 0);
  const taken = Array.from({ length: 100 }, () => 0);
  const take = (index: number): void => void taken[index]!++;
  turns.advance(roundMs * 0.25, 100, take);
  t.strictSame(
    taken,
    taken.map((_, i) => (i < 25 ? 1 : 0)),
  );
  turns.advance(roundMs * 3.5, 100, take);
  t.strictSame(
    taken,
    taken.map((_, i) => (i < 25 ? 2 : 1)),
  );
  turns.advance(roundMs * 3.75, 100, take);
  t.strictSame(
    taken,
    taken.map((_, i) => (i < 25 || (i >= 50 && i < 75) ? 2 : 1)),
    "and then goes on from where the round is",
  );
  t.end();
});

await tap.test("a crowd that was dropped and has come back says again that it is there", async (t) => {
  const said = new Map<Socket, number>();
  const address = await serve(t, (socket, text) => {
    if (text.includes("hello")) socket.write("ok");
    said.set(socket, (said.get(socket) ?? 0) + text.split("here").length - 1);
  });
  const crowd = crowdOf(3, { dialect: speaking(address, { keepAlive: { send: "here", everyMs: tickMs } }) });
  for (let opened = 1; opened <= 2; opened++) {
    said.clear();
    await crowd.open({ from: "live", onReady: () => {} });
    while (said.size < 3 || [...said.values()].some((count) => count < 2)) await sleep(5);
    t.pass(`all three said so, opened for the ${opened}. time`);
    crowd.drop();
  }
});

await tap.test("a large crowd comes from many addresses, few from each, others in each process", (t) => {
  const each = new Map<string, number>();
  for (const pid of [12_345, 12_346])
    for (let index = 0; index < 20_000; index++) {
      const address = sourceAddress(pid, index);
      each.set(address, (each.get(address) ?? 0) + 1);
    }
  t.equal(each.size, 20);
  t.strictSame([...new Set(each.values())], [2_000]);
  for (const address of each.keys()) t.match(address, /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/);
  t.equal(comesFromMany(10_000, "127.0.0.1"), false);
  t.equal(comesFromMany(50_000, "127.0.0.1"), process.platform === "linux");
  t.equal(comesFromMany(50_000, "10.0.0.1"), false, "another machine is not reached from 127.0.0.0/8");
  t.end();
});

await tap.test(
  "each connects from its address",
  { skip: process.platform !== "linux" && "only on Linux is all of 127.0.0.0/8 this machine" },
  async (t) => {
    const from = new Set<string | undefined>();
    const address = await serve(t, (socket) => {
      from.add(socket.remoteAddress);
      socket.write("ok");
    });
    const crowd = crowdOf(3, { dialect: speaking(address), localAddress });
    await crowd.open({ from: "live", onReady: () => {} });
    t.strictSame(from, new Set([0, 1, 2].map(localAddress)));
    crowd.drop();
  },
);

await tap.test("a reader that is sent away tells what it was told", async (t) => {
  const sockets: Socket[] = [];
  const address = await serve(t, (socket) => {
    sockets.push(socket);
    socket.write("ok");
  });
  let failed: (error: Error) => void;
  const failure = new Promise<Error>((resolve) => (failed = resolve));
  const crowd = crowdOf(1, { dialect: speaking(address), onFailure: (error) => failed(error) });
  await crowd.open({ from: "live", onReady: () => {} });
  sockets[0]!.end("no answer to a ping");
  t.match(
    (await failure).message,
    /^reader 0: the target closed the connection; it said: no answer to a ping$/,
  );
});

/** A server of one test; `onText` gets what a client says, as it comes. */
async function serve(t: Test, onText: (socket: Socket, text: string) => void): Promise<Dialect["address"]> {
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes) => onText(socket, bytes.toString("latin1")));
  });
  server.listen(0, "0.0.0.0");
  await once(server, "listening");
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

function localAddress(index: number): string {
  return `127.0.0.${2 + index}`;
}

/** `hello` is answered `ok`. */
function speaking(
  address: Dialect["address"],
  { keepAlive }: { keepAlive?: { send: string; everyMs: number } } = {},
): Dialect {
  const script: Script = { steps: [{ send: Buffer.from("hello"), until: Buffer.from("ok") }] };
  if (keepAlive !== undefined) script.keepAlive = { ...keepAlive, send: Buffer.from(keepAlive.send) };
  return {
    address,
    reader: () => script,
    publisher: () => {
      throw new Error("nobody publishes");
    },
  };
}

function crowdOf(readers: number, options: Partial<CrowdOptions> & Pick<CrowdOptions, "dialect">): Crowd {
  return new Crowd({
    follows: {
      first: 0,
      offsets: Uint32Array.from({ length: readers + 1 }, (_, i) => i),
      topics: new Uint32Array(readers),
    },
    topicCount: 1,
    schedule: Uint32Array.of(0),
    payloadBytes: 90,
    stream: undefined,
    user: undefined,
    onComplete: () => {},
    onMessage: () => {},
    onFailure: () => {},
    ...options,
  });
}
