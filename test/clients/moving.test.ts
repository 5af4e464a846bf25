/* Clients that know two addresses, and real brokers behind them. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import tap, { type Test } from "tap";

import { Broker } from "../../broker/broker.ts";
import type { BrokerOptions } from "../../broker/options.ts";
import { type Client, connect, type ConnectOptions, type Stream } from "../../clients/node/index.ts";
import { freePort } from "../free-port.ts";
import { workers } from "../workers/count.ts";

const soon = { initialMs: 10, maxMs: 50 };

await tap.test(
  "a broker that goes from one address to the other and back under load: nothing is lost, doubled or skipped",
  async (t) => {
    const data = await folder(t);
    const ports = [await freePort(), await freePort()] as const;
    const urls = ports.map((port) => `http://127.0.0.1:${port}`);
    let broker = await start({ data, port: ports[0] });
    t.teardown(() => broker.stop(0));
    const moveTo = async (port: number): Promise<void> => {
      await broker.stop();
      broker = await start({ data, port });
    };
    const meet = (user: string): Promise<Client> =>
      session(t, urls, { user, device: "phone", requestTimeoutMs: 0, reconnect: soon });
    const [bob, alice] = await Promise.all([meet("bob"), meet("alice")]);
    await alice.follow("bob");
    const home = alice.stream("home");
    await home.opened;
    t.equal(alice.url, urls[0]);

    const count = 600;
    const posted: Promise<unknown>[] = [];
    const stop = new AbortController();
    const publishing = (async () => {
      while (!stop.signal.aborted || posted.length < count) {
        posted.push(bob.post(`${posted.length}`));
        // Some wait for their answers, some are under way when the broker goes.
        if (posted.length % 3 === 0) await posted.at(-1);
      }
    })();
    for (const port of [ports[1], ports[0]]) {
      await moveTo(port);
      await Promise.all([bob.ping(), alice.ping()]);
      t.same([bob.url, alice.url], [`http://127.0.0.1:${port}`, `http://127.0.0.1:${port}`]);
    }
    stop.abort();
    await publishing;
    await Promise.all(posted);
    t.same(
      (await texts(home, posted.length)).sort((a, b) => Number(a) - Number(b)),
      posted.map((_, i) => `${i}`),
    );
    await bob.post("end");
    t.same(await texts(home, 1), ["end"], "and nothing was repeated");
  },
);

await tap.test(
  "a node that stops lets its clients go over its drain time, and each goes on at once",
  async (t) => {
    const leaving = await start({ data: await folder(t), drainMs: 1_000, node: "leaving" });
    t.teardown(() => leaving.stop(0));
    const staying = await start({ data: await folder(t), node: "staying" });
    t.teardown(() => staying.stop(0));
    const clients = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        // No chance: all begin at the first, and none adds a wait of its own.
        session(t, [leaving.url, staying.url], { user: `u${i}`, random: () => 0 }),
      ),
    );
    t.same(new Set(clients.map(({ node }) => node)), new Set(["leaving"]));
    const order: string[] = [];
    const moved = clients.map(async (client) => {
      client.on("goodbye", () => order.push("goodbye"));
      await new Promise((resolve) => client.on("connect", resolve));
      order.push("moved");
      t.equal(client.node, "staying");
    });
    await leaving.stop();
    await Promise.all(moved);
    const before = order.slice(0, order.lastIndexOf("goodbye")).filter((what) => what === "moved").length;
    t.ok(before > clients.length / 2, `${before} had moved when the last was told to`);
  },
);

function start(options: Partial<BrokerOptions>): Promise<Broker> {
  return Broker.start({ port: 0, logLevel: "error", drainMs: 20, workers, ...options });
}

async function folder(t: Test): Promise<string> {
  const data = await mkdtemp(join(tmpdir(), "whalesong-moving-"));
  t.teardown(() => rm(data, { recursive: true, force: true }));
  return data;
}

async function session(t: Test, urls: readonly string[], options: ConnectOptions): Promise<Client> {
  const client = await connect(urls, options);
  t.teardown(() => client.close());
  return client;
}

/** The texts of the next posts. */
async function texts(stream: Stream, count: number): Promise<string[]> {
  const got: string[] = [];
  while (got.length < count) {
    const { value, done } = await stream.next();
    if (done === true) throw new Error("the stream ended");
    if (value.event === "post") got.push(value.post.text);
  }
  return got;
}
