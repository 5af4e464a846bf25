/* A full disk: writes are refused and may be tried again, reads and live streams go on, and it heals when there is room. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { rmdir, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import tap from "tap";

import { Fullness } from "../../broker/log/fullness.ts";
import { WhalesongError } from "../../protocol/index.ts";
import { faultsOf } from "../state/consistency.ts";
import { SessionBroker } from "./session-broker.ts";
import { type SessionClient, offsetOf } from "./session-client.ts";

const filler = "x".repeat(8_000);

const small = mountSmall();

await tap.test("ENOSPC", { skip: small === undefined && "needs the right to mount a tmpfs" }, async (t) => {
  const folder = small!;
  const ballast = join(folder, "ballast");
  await writeFile(ballast, Buffer.alloc(4 * 1024 * 1024));
  const broker = await SessionBroker.start(join(folder, "data"));
  t.teardown(async () => {
    await broker.stop();
    execFileSync("umount", ["--lazy", folder]);
    await rmdir(folder);
  });
  const bob = await broker.connect("bob");
  const alice = await broker.connect("alice");
  await alice.request("follow", { user: "bob" });
  const home = await alice.subscribeLive("home");

  const answered: number[] = [];
  const error = await publishUntilRefused(bob, answered);
  t.match(error, { code: "storage_full", retryable: true });
  t.ok(answered.length > 10);

  const before = broker.state.applied();
  await t.rejects(bob.request("post", { text: filler }), { code: "storage_full", retryable: true });
  t.equal(broker.state.applied(), before, "what was refused changed nothing");
  t.match(await alice.request("relationship", { user: "bob" }), { following: true });
  const page = await alice.request("read", { stream: "home", limit: 10 });
  t.equal((page["items"] as unknown[]).length, 10);
  await alice.request("get", { post: broker.state.positions.id(answered[0]!) });
  const again = await (await broker.connect("alice")).subscribeLive("home", { from: "earliest" });
  t.same(postsOf(again.events), answered);

  await unlink(ballast);
  const { id } = await bob.request("post", { text: "there is room" });
  answered.push(offsetOf(id));
  t.equal(broker.log.refusal, undefined);
  await alice.until(() => postsOf(home.events).length === answered.length);
  t.same(postsOf(home.events), answered, "live: every answered post, none that was refused");
  t.same(faultsOf(broker.state), []);
});

await tap.test(
  "a store at its limit refuses posts, and takes them when the limit is raised or history trimmed",
  async (t) => {
    let fullness: Fullness | undefined;
    const broker = await SessionBroker.for(t, { fullness: () => fullness?.reason });
    const bob = await broker.connect("bob");
    fullness = new Fullness(broker.state, "/", { maxStoreBytes: 400_000, minFreeBytes: 0 });
    const answered: number[] = [];
    const check = (): Promise<void> => fullness.check();
    const error = await publishUntilRefused(bob, answered, check);
    t.match(error, { code: "storage_full", retryable: true, message: /--max-store-bytes/ });
    await bob.request("read", { stream: "user:bob" });
    await broker.trim(answered.at(-2)!);
    await check();
    await bob.request("post", { text: "there is room" });
  },
);

await tap.test("a disk with less room than must stay free is full", async (t) => {
  const broker = await SessionBroker.for(t);
  const fullness = new Fullness(broker.state, "/", { minFreeBytes: Number.MAX_SAFE_INTEGER });
  await fullness.check();
  t.match(fullness.reason, /--min-free-bytes/);
});

async function publishUntilRefused(
  author: SessionClient,
  answered: number[],
  before: () => Promise<void> = async () => {},
): Promise<unknown> {
  for (;;) {
    await before();
    try {
      const { id } = await author.request("post", { text: filler });
      answered.push(offsetOf(id));
    } catch (error) {
      if (!(error instanceof WhalesongError)) throw error;
      return error;
    }
  }
}

function postsOf(events: Record<string, unknown>[]): number[] {
  return events.filter(({ event }) => event === "post").map(({ cursor }) => offsetOf(cursor));
}

/** A disk of 8 MiB; undefined where one may not be mounted. */
function mountSmall(): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "whalesong-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], { stdio: "ignore" });
    return folder;
  } catch {
    rmdirSync(folder);
    return undefined;
  }
}
