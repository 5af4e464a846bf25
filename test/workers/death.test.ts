/* A worker killed under load: its clients come back and miss nothing, others notice nothing, what it had taken is done. */

import { type Client, connect } from "../../clients/node/index.ts";
import tap, { type Test } from "tap";

import { quick } from "../clients/session.ts";
import { WorkerBroker } from "./worker-broker.ts";

const readers = 12;
const posts = 600;
const kills = 3;

await tap.test("readers of a worker that is killed miss nothing and see nothing twice", async (t) => {
  const broker = await WorkerBroker.for(t, 2);
  const alice = await meet(t, broker, "alice");
  const followers = await Promise.all(
    Array.from({ length: readers }, (_, i) => meet(t, broker, `reader${i}`)),
  );
  for (const follower of followers) await follower.follow("alice");
  const seen = followers.map((follower) => read(follower));
  await Promise.all(seen.map(({ opened }) => opened));

  const killing = (async () => {
    for (let kill = 0; kill < kills; kill++) await broker.killWorker(1 + (kill % 2));
  })();
  const life = { isOver: false };
  void killing.then(() => (life.isOver = true));
  const said: string[] = [];
  for (let i = 0; i < posts || !life.isOver; i++) {
    const text = `post ${i}`;
    said.push(text);
    await alice.post(text); // the SDK repeats it, with its key, when the connection is lost
  }
  await killing;
  for (const { texts, until } of seen) {
    await until(said.length);
    t.same(texts, said);
  }
  t.equal((await broker.metrics()).get("whalesong_workers_replaced"), kills);
  t.equal((await broker.metrics()).get("whalesong_workers"), 2);
});

await tap.test("commands that a killed worker had sent are applied, each once", async (t) => {
  const broker = await WorkerBroker.for(t, 1);
  const client = await broker.connect("alice");
  const answers = Array.from({ length: 500 }, (_, i) =>
    client.request("post", { text: `${i}`, key: `key ${i}` }).then(
      ({ id }) => id as string,
      () => undefined,
    ),
  );
  await Promise.race(answers);
  await broker.killWorker(1);
  const before = await Promise.all(answers);
  t.ok(before.some((id) => id !== undefined));
  const again = await broker.connect("alice");
  const ids: string[] = [];
  for (let i = 0; i < answers.length; i++)
    ids.push((await again.request("post", { text: `${i}`, key: `key ${i}` }))["id"] as string);
  t.equal(new Set(ids).size, answers.length);
  for (const [i, id] of before.entries()) if (id !== undefined) t.equal(ids[i], id);
});

await tap.test("connections that come while no worker serves wait for the next", async (t) => {
  const broker = await WorkerBroker.for(t, 1);
  await killAndSee(broker, broker.workers.pids[0]!);
  const client = await broker.connect("alice");
  t.ok(await client.request("post", { text: "patience" }));
});

await tap.test("pages that a killed worker was reading are free again", async (t) => {
  const broker = await WorkerBroker.for(t, 2);
  const client = await broker.connectTo(2, "alice");
  await client.request("post", { text: "read at both" });
  const pid = broker.workers.pids[0]!;
  t.ok(broker.core.state.readers().includes(String(pid)), "it reads");
  await killAndSee(broker, pid);
  t.notOk(broker.core.state.readers().includes(String(pid)), "before another takes its place");
});

/** Kills a process; settles once the broker has seen that it is dead. */
async function killAndSee(broker: WorkerBroker, pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  while (broker.workers.pids.includes(pid)) await new Promise((resolve) => setImmediate(resolve));
}

async function meet(t: Test, broker: WorkerBroker, user: string): Promise<Client> {
  const client = await connect(broker.url, { user, device: "only", reconnect: quick });
  t.teardown(() => client.close());
  return client;
}

/** Reads `home` from here on. `until` settles once so many posts have come. */
function read(client: Client) {
  const texts: string[] = [];
  let onText: (() => void) | undefined;
  const stream = client.stream("home");
  void (async () => {
    for await (const event of stream) {
      if (event.event === "post") texts.push(event.post.text);
      onText?.();
    }
  })();
  const until = (count: number): Promise<void> =>
    new Promise((resolve) => {
      onText = () => {
        if (texts.length >= count) resolve();
      };
      onText();
    });
  return { texts, until, opened: stream.opened };
}
