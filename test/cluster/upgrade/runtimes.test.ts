/* Nodes on two versions of Node.js, whose tables of Unicode differ: which characters are letters, and which letters are the same. They make the
 * same of the log all the same, since what a name folds to is in the command. */

import tap from "tap";

import { fold } from "../../../protocol/index.ts";
import { Random } from "../../model/random.ts";
import { type ScriptName, newerScripts, scripts } from "../../old/scripts.ts";
import { runtime } from "../../package/runtimes.ts";
import { Cluster, type ClusterNode } from "../broker-process.ts";
import { NatsServers, natsTest } from "../nats-server.ts";
import { level } from "./upgrade.ts";

interface Page {
  items: { post?: { author: string; mentions: string[]; tags: string[] } }[];
}

await natsTest(
  tap,
  "nodes on two versions of Node.js hold the same, also of names in scripts that one of them does not know",
  { timeoutMs: 180_000 },
  async (t) => {
    const [older, newer] = [await runtime("node22first"), await runtime("node24")];
    if (older === undefined || newer === undefined) return;
    const nats = await NatsServers.for(t);
    const cluster = await Cluster.for(t, {
      nats: nats.urls,
      nodes: 2,
      launch: { node: newer },
      last: { launch: { node: older } },
    });
    const [first, second] = cluster.nodes as [ClusterNode, ClusterNode];
    for (const node of cluster.nodes) await node.untilLevel(level);

    const random = Random.seeded();
    t.comment(`WHALESONG_SEED=${random.seed}`);
    for (const [i, names] of scripts.entries())
      await tell(i % 2 === 0 ? first : second, names, random.pick(scripts));
    for (const names of newerScripts) await tell(first, names, random.pick(newerScripts));

    const unknown = `streams/${encodeURIComponent(`user:${newerScripts[0]!.handle}`)}`;
    await t.rejects(
      ask(second, "GET", unknown),
      { message: /bad_request/ },
      "the older takes it for no name",
    );
    const pages = await Promise.all(
      cluster.nodes.map((node) => ask(node, "GET", "streams/firehose?limit=200")),
    );
    t.same(pages[1], pages[0], "and shows it as the newer does");
    const { items } = pages[1]!;
    for (const { handle, again, tag, tagAgain } of newerScripts) {
      t.ok(
        items.some(({ post }) => post?.author === handle.normalize("NFC")),
        `${handle} has posted`,
      );
      for (const stream of [`user:${handle}`, `user:${again}`, `tag:${tag}`, `tag:${tagAgain}`]) {
        const page = await ask(first, "GET", `streams/${encodeURIComponent(stream)}`);
        t.equal(page.items.length, 2, `${stream} holds what was told under both spellings`);
      }
    }
    await cluster.checkAgreement(t);
  },
);

/** Says something under each spelling of a name, and follows. */
async function tell(node: ClusterNode, names: ScriptName, other: ScriptName): Promise<void> {
  const { handle, again, tag, tagAgain } = names;
  for (const [as, about, mentioned] of [
    [handle, tag, other.again],
    [again, tagAgain, other.handle],
  ] as const) {
    const mentions = fold(other.handle) === fold(handle) ? [] : [mentioned, other.handle];
    const post = { as, text: "a song", tags: [about, tag], mentions };
    await ask(node, "POST", "posts", post);
  }
  if (names === other) return;
  const target = encodeURIComponent(other.again);
  await ask(node, "PUT", `users/${encodeURIComponent(again)}/follows/${target}`);
}

/** @throws with the answer of a refusal */
async function ask({ url }: ClusterNode, method: string, path: string, body?: object): Promise<Page> {
  const response = await fetch(`${url}/v1/${path}${path.includes("?") ? "&" : "?"}user=scribe`, {
    method,
    ...(body === undefined
      ? {}
      : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
  return (await response.json()) as Page;
}
