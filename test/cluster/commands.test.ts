/* `whalesong cluster`: a lone broker's data begin a cluster and clients carry on; how the cluster is; what is refused, and why. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import tap, { type Test } from "tap";

import type { ClusterReport } from "../../broker/cluster/report.ts";
import { toText } from "../../broker/cluster/report.ts";
import { Broker, type BrokerOptions } from "../../broker/index.ts";
import type { LogLevel } from "../../broker/options.ts";
import { connect } from "../../clients/node/index.ts";
import { type Ended, whalesong } from "../cli/whalesong.ts";
import { NatsServers, natsTest } from "./nats-server.ts";

const timeoutMs = 60_000;

type Client = Awaited<ReturnType<typeof connect>>;

async function folder(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "whalesong-commands-"));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

async function start(t: Test, options: Partial<BrokerOptions>): Promise<Broker> {
  const broker = await Broker.start({
    port: 0,
    logLevel: (process.env["WHALESONG_TEST_LOG"] ?? "silent") as LogLevel,
    ...options,
  });
  t.teardown(() => broker.stop(0));
  return broker;
}

function client(broker: Broker, user: string): Promise<Client> {
  return connect(broker.url.replace("http", "ws"), { user, device: "phone" });
}

function cluster(...args: string[]): Promise<Ended> {
  return whalesong(["cluster", ...args]);
}

/** The posts of bob's home from where his phone is, until one has this text. */
async function readUntil(bob: Client, text: string): Promise<string[]> {
  const texts: string[] = [];
  for await (const event of bob.stream("home")) {
    if (event.event !== "post") continue;
    texts.push(event.post.text);
    if (event.post.text === text) break;
  }
  return texts;
}

await natsTest(
  tap,
  "a lone broker's data begin a cluster: epoch, ids and cursors carry on, on every node",
  { timeoutMs },
  async (t) => {
    const nats = await NatsServers.for(t);
    const [data, other] = [await folder(t), await folder(t)];
    const lone = await start(t, { data });
    const { epoch } = lone;
    const bob = await client(lone, "bob");
    await bob.follow("alice");
    const alice = await client(lone, "alice");
    const reading = readUntil(bob, "unfinished");
    const { id } = await alice.post("seen");
    await alice.post("unfinished");
    t.same(await reading, ["seen", "unfinished"]);
    await bob.close();
    await alice.post("missed");
    await alice.close();
    await lone.stop(0);

    const began = await whalesong(["cluster", "init", "--data", data, "--nats", nats.urls]);
    t.match(began, { status: 0, stderr: "", stdout: /\d commands/ });
    t.match(began.stdout, new RegExp(`epoch ${epoch}.*next: whalesong serve --data ${data}`, "s"));

    const urls = nats.urls.split(",");
    const first = await start(t, { data, nats: urls, node: "first" });
    const second = await start(t, { data: other, nats: urls, node: "second" });
    t.equal(second.epoch, epoch);
    const again = await client(second, "bob");
    const writer = await client(first, "alice");
    const resumed = readUntil(again, "of the cluster");
    await writer.post("of the cluster");
    t.same(await resumed, ["unfinished", "missed", "of the cluster"], "from where it was");
    t.equal((await again.get(id)).text, "seen");
    await again.close();

    const shown = await whalesong(["cluster", "status", "--json"], { env: { WHALESONG_NATS: nats.urls } });
    const report = JSON.parse(shown.stdout) as ClusterReport;
    t.match(shown, { status: 0, stderr: "" });
    t.match(
      report.nodes.map(({ node, url, epoch: of }) => ({ node, url, of })),
      [
        { node: "first", url: first.url, of: epoch },
        { node: "second", url: second.url, of: epoch },
      ],
    );
    t.equal(report.nodes.find(({ node }) => node === "first")!.sessions, 1, "alice's");
    t.equal(report.snapshots.length, 1);
    t.match(report.snapshots[0], { seq: 0, epoch, isOfThisLog: true });
    t.ok(report.log!.lastSeq >= 1);
    for (const { lag, head } of report.nodes) t.ok(lag! >= 0 && head > 0);
    await writer.close();
    const text = await whalesong(["cluster", "status", "--nats", nats.urls]);
    t.match(text.stdout, /^cluster whalesong: log of \d+ batches, 1 to \d+ kept, created /);
    t.match(text.stdout, /\nfirst +\d\S+ +http:\S+ /);
  },
);

await natsTest(tap, "what cannot be done is refused with what to do about it", { timeoutMs }, async (t) => {
  const nats = await NatsServers.for(t);
  const [data, empty] = [await folder(t), await folder(t)];
  const lone = await start(t, { data });
  const alice = await client(lone, "alice");
  await alice.post("hello");
  await alice.close();
  const urls = nats.urls.split(",");
  const init = (path: string, ...more: string[]): Promise<Ended> =>
    cluster("init", "--data", path, "--nats", nats.urls, ...more);

  t.match(await cluster("status"), {
    status: 1,
    stderr: /^whalesong: nats: name the NATS servers with --nats/,
  });
  const nowhere = await cluster("status", "--nats", "nats://127.0.0.1:1");
  t.match(nowhere, {
    status: 1,
    stderr: /^whalesong: NATS cannot be reached at nats:\/\/127.0.0.1:1: .*\n$/,
  });
  t.match(await cluster("status", "--nats", nats.urls), {
    status: 1,
    stdout: /there is no log.*no node answers/s,
  });
  t.match(await cluster("status", "--nots"), { status: 2, stderr: /unknown option/ });
  t.match(await init(data), { status: 1, stderr: /in use by another broker/ });
  await lone.stop(0);
  t.match(await init(empty), { status: 1, stderr: /holds no data to begin a cluster with/ });

  await t.rejects(start(t, { data, nats: urls }), { message: /whalesong cluster init --data/ });
  t.match(await init(data), { status: 0 });
  await t.rejects(start(t, { data }), {
    message: /it is a node's of a cluster; name the cluster's NATS servers with --nats/,
  });
  const node = await start(t, { data, nats: urls, node: "n1" });
  t.match(await init(data, "--replace"), {
    status: 1,
    stderr: /nodes of the cluster run: n1 \(http.*\); stop them first/,
  });
  const { epoch } = node;
  const second = await start(t, { data: empty, nats: urls });
  await second.stop(0);
  await node.stop(0);
  t.match(await init(data), { status: 1, stderr: /there is a cluster whalesong already.*--replace/ });
  t.match(await init(data, "--replace"), { status: 0 });
  const anew = await start(t, { data, nats: urls });
  t.not(anew.epoch, epoch, "a node's data begin a cluster in a new epoch");
  await t.rejects(start(t, { data: empty, nats: urls }), { message: /another history/ });

  t.match(await cluster("leave", "--data", empty), { status: 0, stdout: /next: whalesong serve/ });
  t.match(await cluster("leave", "--data", empty), { status: 1, stderr: /not a node's of a cluster/ });
  const left = await start(t, { data: empty });
  t.not(left.epoch, epoch);
});

await natsTest(tap, "NATS without JetStream is named as what is wrong", { timeoutMs }, async (t) => {
  const configuration = "accounts { A { users = [ { user: a, password: a } ] } }\nno_auth_user: a";
  const nats = await NatsServers.for(t, { configuration });
  const shown = await whalesong(["cluster", "status", "--nats", nats.urls]);
  t.match(shown, { status: 1, stderr: /^whalesong: NATS at .*JetStream.*not enabled/ });
});

await tap.test("a report says what is not as it should be", async (t) => {
  const log = { created: "then", firstSeq: 10, lastSeq: 20 };
  const common = {
    run: "r",
    version: "1.0.0",
    url: "http://a",
    sessions: 3,
    epoch: "e",
    floor: 0,
    head: 100,
    startedAt: 0,
  };
  const nodes = [
    { ...common, node: "a", created: "then", seq: 20, lag: 0, isKeeper: true },
    { ...common, node: "b", created: "then", seq: 15, lag: 5, isKeeper: false, trouble: "NATS is away" },
    { ...common, node: "c", created: "before", seq: 99, lag: null, isKeeper: false },
  ];
  const facts = {
    created: "then",
    seq: 9,
    time: 1,
    epoch: "e",
    offset: 50,
    format: 2,
    node: "a",
    version: "1.0.0",
    at: 0,
  };
  const snapshots = [{ ...facts, name: "s", bytes: 4_096, isOfThisLog: false }];
  const text = toText({ cluster: "x", log, nodes, snapshots }, 7_200_000);
  t.match(text, /^cluster x: log of 20 batches, 10 to 20 kept, created then\n/);
  t.match(text, /\na .* 20 +0 +2h +ready, keeper\n/);
  t.match(text, /\nb .* 15 +5 +2h +NATS is away\n/);
  t.match(text, /\nc .* 99 +- +2h +of another log\n/);
  t.match(text, /\n9 +50 +e +4096 +2 +2h +a, 1.0.0, of a log that is no more\n$/);
});

await natsTest(tap, "a node that is stopped while it starts ends", { timeoutMs }, async (t) => {
  const nats = (await NatsServers.for(t)).urls.split(",");
  const data = await folder(t);
  for (const afterMs of [0, 0, 1, 2, 4, 8, 16, 32]) {
    const node = await Broker.start({ port: 0, data, logLevel: "silent", nats, node: "a" });
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    await node.stop(0);
  }
  t.pass("each time");
});
