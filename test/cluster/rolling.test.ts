/* A rolling restart: the nodes of a cluster are stopped and started again one after the other, under load, by clients that
 * know all of them and do nothing about it. */

import tap, { type Test } from "tap";

import { type Client, connect, type Stream } from "../../clients/node/index.ts";
import { Cluster } from "./broker-process.ts";
import { NatsServers, natsTest } from "./nats-server.ts";

const drainMs = 2_000;
const readers = 24;
const authors = ["ann", "ben"];

/** What clients did when they were told to go. */
class Moves {
  #stopping = "";
  /** Of the present restart, in their order. */
  #order: ("goodbye" | "moved")[] = [];
  count = 0;
  /** Those that were elsewhere before the last client heard its goodbye. */
  #beforeTheLast = 0;

  /** The node at `url` is stopped next. */
  from(url: string): void {
    this.#beforeTheLast = this.beforeTheLast;
    this.#order = [];
    this.#stopping = url;
  }

  get beforeTheLast(): number {
    const before = this.#order.slice(0, this.#order.lastIndexOf("goodbye") + 1);
    return this.#beforeTheLast + before.filter((what) => what === "moved").length;
  }

  watch(t: Test, client: Client): void {
    client.on("goodbye", () => {
      t.equal(client.url, this.#stopping, "only the node that stops says goodbye");
      this.#order.push("goodbye");
    });
    client.on("disconnect", ({ error, retryInMs, nextUrl }) => {
      t.match(error, { code: "disconnected", closeCode: 4000 });
      t.not(nextUrl, this.#stopping);
      t.ok(retryInMs < 1_000, `goes on after ${retryInMs} ms`);
    });
    client.on("connect", () => {
      this.#order.push("moved");
      this.count++;
    });
    client.on("error", (error) => t.fail(error.message));
  }
}

await natsTest(
  tap,
  "all nodes are restarted in turn: nothing is refused, missed, repeated or out of order, and clients go one by one",
  { timeoutMs: 180_000 },
  async (t) => {
    const nats = await NatsServers.for(t);
    const cluster = await Cluster.for(t, { nats: nats.urls, flags: ["--drain", `${drainMs}ms`] });
    const moves = new Moves();
    const meet = async (user: string): Promise<Client> => {
      const client = await connect(cluster.urls, { user, device: "phone" });
      t.teardown(() => client.close());
      moves.watch(t, client);
      return client;
    };
    const publishers = await Promise.all(authors.map(meet));
    const clients = await Promise.all(Array.from({ length: readers }, (_, i) => meet(`reader${i}`)));
    t.equal(new Set(clients.map(({ url }) => url)).size, 3, "readers are on all nodes");
    await Promise.all(clients.flatMap((client) => authors.map((author) => client.follow(author))));
    const homes = clients.map((client) => client.stream("home"));
    await Promise.all(homes.map(({ opened }) => opened));
    const readings = homes.map((home) => readUntilEnd(home));

    const stopPublishing = new AbortController();
    const publishing = Promise.all(publishers.map((me) => publish(me, stopPublishing.signal)));
    for (const node of cluster.nodes) {
      moves.from(node.url);
      await node.stop();
      await node.start();
      await node.untilReady();
    }
    stopPublishing.abort();
    const posted = (await publishing).flat();
    await publishers[0]!.post("end");

    const read = await Promise.all(readings);
    const [first] = read;
    t.same([...first!].sort(), posted.sort(), "all that was posted, once");
    for (const texts of read) t.same(texts, first, "and the same order for everybody");
    t.ok(moves.count >= readers, `${moves.count} times a client went to another node`);
    t.ok(
      moves.beforeTheLast >= moves.count / 3,
      `${moves.beforeTheLast} of them before the node had let all go`,
    );
    await Promise.all([...clients, ...publishers].map((client) => client.close()));
    await cluster.checkAgreement(t);
  },
);

/** Posts one after the other, until told to stop; the texts, all of which were answered. */
async function publish(me: Client, signal: AbortSignal): Promise<string[]> {
  const texts: string[] = [];
  while (!signal.aborted) {
    const text = `${me.user} ${texts.length}`;
    await me.post(text);
    texts.push(text);
  }
  return texts;
}

async function readUntilEnd(stream: Stream): Promise<string[]> {
  const texts: string[] = [];
  for await (const event of stream) {
    if (event.event !== "post") continue;
    if (event.post.text === "end") break;
    texts.push(event.post.text);
  }
  return texts;
}
