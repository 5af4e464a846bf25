/* Gossip under chance: nodes that move cursors, are cut off, overflow, stop and come back end with the same cursors, and each
 * of those is the latest that any of them had. WHALESONG_SEED repeats a run. */

import fc from "fast-check";
import tap from "tap";

import { type CursorKey, cursorKey, isLater } from "../../broker/state/index.ts";
import { type GossipNode, ground, placeOf, until } from "./gossip-node.ts";
import { natsTest } from "./nats-server.ts";

const seed = Number(process.env["WHALESONG_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const users = 40;
const key = (user: number): CursorKey => cursorKey(user + 1, "phone", "home");

const anyStep = fc.record({
  node: fc.nat(2),
  what: fc.oneof(
    { weight: 12, arbitrary: fc.constant("acknowledge" as const) },
    { weight: 4, arbitrary: fc.constant("seek" as const) },
    { weight: 2, arbitrary: fc.constant("flush" as const) },
    { weight: 1, arbitrary: fc.constantFrom("cut off", "restart", "NATS away") },
  ),
  user: fc.nat(users - 1),
  offset: fc.nat(1_000),
});

await natsTest(
  tap,
  `whatever happens, all nodes come to have the latest of every cursor (seed ${seed})`,
  { timeoutMs: 120_000 },
  async (t) => {
    const { nats, node } = await ground(t);
    const names = ["a", "b", "c"];
    const nodes: GossipNode[] = await Promise.all(names.map((name) => node(name, { maxPending: 15 })));
    const steps = fc.sample(anyStep, { numRuns: 1_500, seed });
    let happened = 0;
    for (const { node: at, what, user, offset } of steps) {
      const { cursors, connection, folder } = nodes[at]!;
      const known = await cursors.get(key(user));
      if (what === "acknowledge") cursors.acknowledge(key(user), offset, known?.generation ?? 0);
      else if (what === "seek") cursors.seek(key(user), offset);
      else if (what === "flush") await cursors.flush();
      else {
        happened++;
        if (what === "cut off") await connection.reconnect();
        else if (what === "restart") {
          await nodes[at]!.stop();
          nodes[at] = await node(names[at]!, { maxPending: 15, folder });
        } else {
          await nats.kill();
          await until(() => nodes.every(({ gossip }) => !gossip.isCurrent));
          for (let i = 0; i < 20; i++) {
            const other = (user + i) % users;
            cursors.seek(key(other), offset);
          }
          await cursors.flush();
          await nats.start();
        }
      }
    }
    t.ok(happened > 20, `${happened} troubles`);
    // What is told last is told after all troubles: from here on nothing is lost that is not noticed.
    const latest = new Map<CursorKey, { offset: number; generation: number }>();
    for (const { cursors, state } of nodes) {
      await cursors.flush();
      state.refresh();
      for (const [name, cursor] of state.cursors.after(undefined))
        if (isLater(cursor, latest.get(name))) latest.set(name, cursor);
    }
    const expected = new Map([...latest].map(([name, cursor]) => [name, placeOf(cursor)]));
    await until(async () => {
      const all = await Promise.all(nodes.map((one) => one.all()));
      return all.every((found) => [...expected].every(([name, place]) => found.get(name) === place));
    });
    for (const one of nodes) t.same(await one.all(), expected);
  },
);
