/* Users whom nothing refers to are dropped by all nodes alike, and streams at any node go on when the handle comes back. */

import { setTimeout as sleep } from "node:timers/promises";

import tap from "tap";

import { inspectStore } from "../../broker/state/index.ts";
import { type Inbox, SessionClient, offsetOf } from "../sessions/session-client.ts";
import { Cluster, type ClusterNode } from "./broker-process.ts";
import { NatsServers, natsTest } from "./nats-server.ts";
import { budget } from "../pace.ts";

tap.setTimeout(budget(300_000));

/** How soon to look again, in ms. */
const againMs = 50;

function postsOf({ events }: Inbox): unknown[] {
  return events.filter(({ event }) => event === "post").map(({ cursor }) => cursor);
}

function connect({ url }: ClusterNode, user: string): Promise<SessionClient> {
  return SessionClient.open(url, { user, device: "phone" });
}

async function isThere(client: SessionClient): Promise<boolean> {
  return await client.request("relationship", { user: "ann" }).then(
    () => true,
    () => false,
  );
}

for (const workers of ["0", "1"]) {
  await natsTest(
    tap,
    `at two nodes, streams of a handle that is dropped and comes back get all its posts (${workers} workers)`,
    { timeoutMs: 120_000 },
    async (t) => {
      const nats = await NatsServers.for(t);
      const flags = ["--workers", workers, "--retain-count", "1"];
      const cluster = await Cluster.for(t, { nodes: 2, nats: nats.urls, flags });
      const [a, b] = cluster.nodes as [ClusterNode, ClusterNode];
      const writer = await connect(a, "ann");
      const annAtB = await connect(b, "ann");
      const reader = await connect(b, "reader");
      const keeper = await connect(a, "keeper");
      await keeper.subscribeLive("tag:nothing"); // has a cursor, and stays
      const live = { from: "live" };
      const author = await reader.subscribeLive("user:ann", live);
      const home = await annAtB.subscribeLive("home", live);
      const mentions = await annAtB.subscribeLive("mentions", live);
      const posts: unknown[] = [];
      const named: unknown[] = [];
      for (let round = 0; round < 3; round++) {
        named.push((await keeper.request("post", { text: "hello @ann" }))["cursor"]);
        posts.push((await writer.request("post", { text: `round ${round}` }))["cursor"]);
        await reader.until(() => postsOf(author).length === round + 1);
        await annAtB.until(
          () => postsOf(home).length === round + 1 && postsOf(mentions).length === round + 1,
        );
        while ((await isThere(keeper)) || (await isThere(reader))) {
          await keeper.request("post", { text: "time goes by" }); // what is kept is counted
          await sleep(againMs);
        }
      }
      t.same(postsOf(author), posts);
      t.same(postsOf(home), posts);
      t.same(postsOf(mentions), named);

      // A reader who was made by a post, at one node, keeps a cursor at the other.
      await keeper.request("post", { text: "hello @late" });
      const late = await connect(b, "late");
      const { start } = await late.subscribeLive("firehose");
      while ((await inspectStore(a.folder))!.floor < offsetOf(start)) {
        await keeper.request("post", { text: "time goes by" });
        await sleep(againMs);
      }
      t.match(await keeper.request("relationship", { user: "late" }), { user: "late" });
      await cluster.checkAgreement(t);
    },
  );
}
