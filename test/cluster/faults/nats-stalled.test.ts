/* NATS serves and confirms nothing: of three servers two are paused, and the one that leads the log does not know yet that it is alone. Nodes
 * say that they are not ready, also those that nobody asks for anything, and a post that is refused is never refused by a ready node. */

import tap from "tap";

import { Cluster } from "../broker-process.ts";
import { NatsServers, bearsPauses, natsTest } from "../nats-server.ts";

const isWaiting = /a command has waited \d+ s to be durable/;

await natsTest(
  tap,
  "a log that confirms nothing makes nodes unready, asked or idle",
  { timeoutMs: 240_000 },
  async (t) => {
    for (const asked of [false, true]) {
      // Nodes are at the leader: they are not cut off.
      const nats = await NatsServers.for(t, { servers: 3 });
      const cluster = await Cluster.for(t, {
        nodes: 1,
        nats: nats.urls,
        flags: ["--cluster-replicas", "3", "--cluster", asked ? "asked" : "idle"],
      });
      const [node] = cluster.nodes;
      await node!.post("before");
      const leader = await nats.leaderOf(asked ? "ASKED" : "IDLE");
      const others = nats.servers.filter((server) => server !== leader);
      for (const server of others) server.pause();
      const posted = asked
        ? node!.post("meanwhile", { key: "k" }).then(
            () => "taken",
            async () => (await node!.readiness())?.isReady,
          )
        : undefined;
      const reason = await node!.untilUnready();
      t.match(reason, isWaiting, asked ? "a post waits" : "nobody asks");
      const outcome = await posted;
      t.not(outcome, true, "ready, and it has just refused a post");
      for (const server of others) server.resume();
      // Servers of 2.9 that stood still may not find to each other again: "JetStream consumer is not current", for minutes.
      if (bearsPauses()) {
        await nats.ready();
        await node!.untilReady();
        await node!.post("after");
      }
      await cluster.stop();
      await nats.kill();
    }
  },
);
