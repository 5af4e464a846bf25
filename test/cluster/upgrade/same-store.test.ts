/* At level 1 this version makes of the log what 0.1.0 makes of it, to the byte: whatever is asked of either node, by whomever it was written.
 * So nodes of both can serve one cluster, and a node can go back to 0.1.0 until the level is raised. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import tap from "tap";

import { digestStore } from "../../../broker/state/digest.ts";
import { inspectStore } from "../../../broker/state/inspect.ts";
import { Random } from "../../model/random.ts";
import { oldLaunch } from "../../old/old.ts";
import { scripts } from "../../old/scripts.ts";
import { ClusterNode, agree } from "../broker-process.ts";
import { NatsServers, freePorts, natsTest } from "../nats-server.ts";

const commands = 1_500;
const inFlight = 8;

await natsTest(
  tap,
  "a node of 0.1.0 and one of this version make the same of the same log",
  { timeoutMs: 180_000 },
  async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "whalesong-same-"));
    const nats = await NatsServers.for(t);
    const ports = await freePorts(2);
    // What is written goes again, and its users with it: the floor moves all the time.
    const flags = ["--retain-count", "400"];
    const [old, present] = ["old", "present"].map(
      (name, i) =>
        new ClusterNode({
          name,
          nats: nats.urls,
          folder: join(folder, name),
          port: ports[i]!,
          flags,
          ...(name === "old" ? { launch: oldLaunch } : {}),
        }),
    ) as [ClusterNode, ClusterNode];
    t.teardown(async () => {
      await Promise.all([old.kill(), present.kill()]);
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    });
    await old.start();
    await old.untilReady();
    await present.start();
    await present.untilReady();

    const random = new Random(20_261_129);
    const posts: string[] = [];
    const left = Array.from({ length: commands }, (_, i) => i);
    const write = async (): Promise<void> => {
      while (left.pop() !== undefined) {
        const node = random.pick([old, present]);
        const id = await some(node, random, posts);
        if (id !== undefined) posts.push(id);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, write));

    await agree([old, present]);
    await Promise.all([old.stop(), present.stop()]);
    t.match(await inspectStore(present.folder), { level: 1, format: 2 });
    const digests = await Promise.all([old, present].map((node) => digestStore(node.folder)));
    t.same(digests[1], digests[0], "the stores of both are the same");
    t.ok(digests[0]!.offset > commands / 2, `${digests[0]!.offset} commands were applied`);

    await present.start({ launch: oldLaunch });
    await present.untilReady();
    await present.post("as 0.1.0 again");
    await present.stop();
  },
);

/** Asks for something or other; the id of the post that came of it, if one did. */
async function some(
  node: ClusterNode,
  random: Random,
  posts: readonly string[],
): Promise<string | undefined> {
  const name = random.pick(scripts);
  const other = random.pick(scripts);
  const spelled = (): string => random.pick([name.handle, name.again]);
  const recent = posts.slice(-200);
  const post = recent.length === 0 ? undefined : random.pick(recent);
  const dice = random.below(10);
  const user = spelled();
  const follow = (target: string): string =>
    `/v1/users/${encodeURIComponent(user)}/follows/${encodeURIComponent(target)}`;
  if (dice < 2) return await ask(node, "PUT", follow(other.again), user);
  if (dice < 3) return await ask(node, "DELETE", follow(other.handle), user);
  if (dice < 4 && post !== undefined) return await ask(node, "POST", `/v1/posts/${post}/repost`, user);
  if (dice < 6 && post !== undefined) return await ask(node, "DELETE", `/v1/posts/${post}`, user);
  return await ask(node, "POST", "/v1/posts", user, {
    text: `a post to @guest${random.below(500)}`,
    mentions: [other.handle, other.again, `guest${random.below(500)}`],
    tags: [name.tag, other.tagAgain, name.tagAgain],
    ...(post !== undefined && random.chance(0.3) ? { replyTo: post } : {}),
    ...(random.chance(0.5) ? { key: `key ${random.below(1_000)}` } : {}),
  });
}

/** What is refused for what it is (another's post, one that is gone) is an answer like any other. */
async function ask(
  node: ClusterNode,
  method: string,
  path: string,
  user: string,
  body?: object,
): Promise<string | undefined> {
  const answer = await fetch(`${node.url}${path}?user=${encodeURIComponent(user)}`, {
    method,
    ...(body === undefined
      ? {}
      : { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
  });
  const { id, error } = (await answer.json()) as { id?: string; error?: { code: string; message: string } };
  if (error !== undefined && !["forbidden", "not_found", "bad_request"].includes(error.code))
    throw new Error(`${method} ${path}: ${error.code}: ${error.message}`);
  return id;
}
