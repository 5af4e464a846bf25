/* A folder that 0.1.0 wrote: whoever upgrades finds in it what was there, alone and in a cluster. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import tap, { type Test } from "tap";

import { digestStore } from "../../broker/state/digest.ts";
import { State, inspectStore } from "../../broker/state/index.ts";
import { whalesong } from "../cli/whalesong.ts";
import { Cluster } from "../cluster/broker-process.ts";
import { NatsServers, natsTest } from "../cluster/nats-server.ts";
import { BrokerProcess } from "../crash/broker-process.ts";
import { MovedClock } from "../moved-clock.ts";
import { budget } from "../pace.ts";
import { faultsOf } from "../state/consistency.ts";
import { type Account, type Keyed, accountOfOld, differences, differencesBehindCursors } from "./answers.ts";
import { beginWithOldFolder, restoreOldFolder } from "./folder.ts";
import { oldWhalesong } from "./old.ts";

const account = accountOfOld();
tap.setTimeout(budget(180_000));

async function restored(t: Test): Promise<string> {
  const place = await mkdtemp(join(tmpdir(), "whalesong-old-"));
  t.teardown(() => rm(place, { recursive: true, force: true }));
  const data = join(place, "data");
  await restoreOldFolder(data);
  return data;
}

await tap.test("it is restored to the byte, and is whole", async (t) => {
  const data = await restored(t);
  const { epoch, head: offset, digest } = account;
  t.same(await digestStore(data), { epoch, offset, digest });
  const state = await State.open(data);
  t.teardown(() => state.close());
  t.same(state.notices, []);
  t.same(faultsOf(state), []);
  t.equal(state.meta.floor, account.floor);
  const kinds = new Set([...state.entries(0, offset)].map(({ kind }) => kind));
  t.ok(kinds.has("forgotten"), `it holds users who are gone, among ${[...kinds].join()}`);
});

await tap.test(
  "alone: every page, relation, post and cursor is as it was, and keys are honoured",
  async (t) => {
    const missing = MovedClock.missing();
    if (missing !== undefined) {
      if (process.env["CI"] === "true") t.fail(missing);
      else t.pass(`skipped: ${missing}`, { skip: missing });
      return;
    }
    const data = await restored(t);
    t.match(await inspectStore(data), { level: 1, format: 2 });
    const clock = await MovedClock.for(t);
    await clock.set(Math.floor((account.at - Date.now()) / 1_000) + 60); // while its keys are in force
    // What upgrades it may still go on at the first start; at the second it is done.
    for (const start of ["at its first start", "at its second"]) {
      const broker = await BrokerProcess.launch(
        ["--data", data, "--port", "0", "--log-level", "warn", "--accept-clock"],
        { by: clock.by },
      );
      t.teardown(() => (broker.hasEnded ? undefined : broker.kill()));
      await checkAnswers(t, broker.url, { start, isKeyed: true });
      t.same(await wrongKeys(broker.url, account.keyed), [], `keys answer as they did ${start}`);
      await broker.stop();
    }
    const state = await State.open(data);
    t.same(faultsOf(state), []);
    await state.close();
    await checkRefused(t, data);
  },
);

await natsTest(
  tap,
  "in a cluster that begins with it: the same at the node that had it, and at one that got the snapshot",
  { timeoutMs: 180_000 },
  async (t) => {
    const nats = await NatsServers.for(t);
    const cluster = await Cluster.for(t, {
      nats: nats.urls,
      nodes: 2,
      prepare: ([first]) => beginWithOldFolder(first!, nats.urls),
    });
    for (const { name, url } of cluster.nodes) await checkAnswers(t, url, { start: `at ${name}` });
    await cluster.checkAgreement(t);
  },
);

/** The folder is of this version now: 0.1.0 says so, whatever it is asked to do with it, and leaves it as it is. */
async function checkRefused(t: Test, data: string): Promise<void> {
  t.match(await inspectStore(data), { level: 2, format: 3 });
  const digest = await digestStore(data);
  const copy = `${data}-copy`;
  t.equal((await whalesong(["backup", copy, "--data", data])).status, 0);
  const refusal = { message: /its format is version 3, this broker reads version 2/ };
  await t.rejects(oldWhalesong("serve", "--data", data, "--port", "0", "--workers", "0"), refusal);
  await t.rejects(oldWhalesong("doctor", "--data", data, "--digest"), refusal);
  const backup = { message: /with a store of format 3, .* this broker reads .* format 2/ };
  await t.rejects(oldWhalesong("restore", copy, "--data", `${data}-new`), backup);
  t.same(await digestStore(data), digest, "it is as it was");
}

async function checkAnswers(
  t: Test,
  url: string,
  { start, isKeyed = false }: { start: string; isKeyed?: boolean },
): Promise<void> {
  const { answers, whileKeyed } = account;
  const expected = isKeyed ? [...answers, ...whileKeyed] : answers;
  t.same(await differences(url, account, expected), [], `all is answered as before ${start}`);
  const behind = await differencesBehindCursors(url, account);
  t.same(behind, [], `who comes back goes on where they were ${start}`);
}

/** Publishes again what was published under a key; what is not answered as it was. */
async function wrongKeys(url: string, keyed: Account["keyed"]): Promise<Keyed[]> {
  const wrong: Keyed[] = [];
  for (const { user, body, answer } of keyed) {
    const response = await fetch(`${url}/v1/posts?user=${encodeURIComponent(user)}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const now = (await response.json()) as Keyed["answer"];
    if (JSON.stringify(now) !== JSON.stringify(answer)) wrong.push({ user, body, answer: now });
  }
  return wrong;
}
