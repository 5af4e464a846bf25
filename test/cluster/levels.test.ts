/* A cluster whose data are of level 1: who holds the level back, what `whalesong cluster status` says of it, and `forget`. */

import { connect } from "nats";
import tap from "tap";

import { Register } from "../../broker/cluster/register.ts";
import { type Ended, whalesong } from "../cli/whalesong.ts";
import { beginWithOldFolder, done } from "../old/folder.ts";
import { oldLaunch } from "../old/old.ts";
import { Cluster, type ClusterNode } from "./broker-process.ts";
import { NatsServers, natsTest } from "./nats-server.ts";
import { reportsOf } from "./reports.ts";

await natsTest(
  tap,
  "the level is raised once no node is left that does not read it, of those that answer and those that are away",
  { timeoutMs: 180_000 },
  async (t) => {
    const nats = await NatsServers.for(t);
    const ask = (...args: string[]): Promise<Ended> =>
      whalesong(["cluster", ...args], { env: { WHALESONG_NATS: nats.urls } });
    const connection = await connect({ servers: nats.urls });
    t.teardown(() => connection.close());
    const register = await Register.of(connection, { bucket: "whalesong_nodes" });
    const before = { node: "before", run: "r", version: "0.1.0", oldest: 1, newest: 1 };
    await register.note(before, { replicas: 1 });
    const untilReport = await reportsOf(t, nats);

    const cluster = await Cluster.for(t, {
      nats: nats.urls,
      prepare: ([first]) => beginWithOldFolder(first!, nats.urls),
      last: { launch: oldLaunch },
    });
    const [first, , third] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode];
    const held = await untilReport(
      ({ register: known, next }) => known?.length === 4 && next?.keeper?.includes("node3") === true,
    );
    t.equal(held.level, 1);
    t.same(held.next!.level, 2);
    t.same(held.next!.heldBackBy, [
      { node: "before", version: "0.1.0", newest: 1, answers: false },
      { node: "node3", version: "0.1.0", newest: 1, answers: true },
    ]);
    t.match(held.next!.keeper, /^level 2 waits for before .*cluster forget before; node3 .*: upgrade it$/);
    t.match(
      held.nodes.map(({ node, level, levels }) => ({ node, level, levels })),
      [
        { node: "node1", level: 1, levels: [1, 2] },
        { node: "node2", level: 1, levels: [1, 2] },
        { node: "node3", level: 1, levels: [1, 1] },
      ],
    );
    t.match(held.register, [
      { node: "before", answers: false },
      { node: "node1", levels: [1, 2], answers: true },
      { node: "node2", levels: [1, 2], answers: true },
      { node: "node3", version: "0.1.0", levels: [1, 1], answers: true },
    ]);
    t.match(JSON.parse(await done(ask("status", "--json"))), {
      level: 1,
      next: held.next,
      register: [{}, {}, {}, {}],
    });
    t.match(await done(ask("status")), /^cluster .*\nlevel 1\nlevel 2 waits for before .*node3.*\n\nnode /);

    t.match(await ask("forget", "node3"), {
      status: 1,
      stderr: /^whalesong: node node3 answers \(http.*, version 0.1.0\): stop it first, or upgrade it\n$/,
    });
    t.match(await ask("forget", "nobody"), {
      status: 1,
      stderr: /node nobody is not in the register .*; those that are: before, node1, node2, node3\n$/,
    });
    t.match(await done(ask("forget", "before")), /before is forgotten/);

    await third.stop();
    const away = await untilReport(({ next }) => next?.keeper?.includes("does not answer") === true);
    t.match(
      away.next!.heldBackBy,
      [{ node: "node3", answers: false }],
      "it holds the level back while it is away",
    );
    t.match(away.register, [{}, {}, { node: "node3", answers: false }]);
    await first.post("at level 1");
    await done(ask("forget", "node3"));
    const raised = await untilReport(({ nodes }) => nodes.every(({ level }) => level === 2));
    t.match(raised, { level: 2, next: null });
    t.equal(raised.nodes.length, 2);
    t.match(
      cluster.nodes.map(({ log }) => log).join(""),
      /"waits":"level 2 waits for [^"]*node3[^]*"level":2,"msg":"the cluster's level is raised/,
    );
    await third.start({ launch: {}, flags: [] });
    await third.untilReady();
    await untilReport(({ register: known }) => known?.length === 3);
    await cluster.checkAgreement(t);
    t.match(await register.list(), [{ node: "node1" }, { node: "node2" }, { node: "node3", newest: 2 }]);
  },
);
