/* The runbook, followed: three machines are set up, upgraded, broken, backed up and restored by the commands of broker/RUNBOOK.md with
 * the files of broker/deploy. Real NATS servers with TLS and rights, real nodes; what stands in for systemd is told in machine.ts.
 * A witness posts and reads meanwhile. */

import { cp, readFile, rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import tap, { type Test } from "tap";

import { Machine, packagedFolder } from "./machine.ts";
import { natsTest } from "./nats-server.ts";
import { Runbook } from "./runbook.ts";
import { runEverywhere, setUpNats } from "./set-up.ts";
import { User, Witness } from "./witness.ts";
import { budget } from "../pace.ts";

tap.setTimeout(budget(900_000));

const runbook = new Runbook();
const timeoutMs = 600_000;
const mismatch = "`epoch_mismatch`";

/** What no test can run. */
const notHere: [heading: string, part: string][] = [
  ["Deploy", "apt-get install"], // installs software, and a user of the machine
  ["Upgrade it", "npm install"], // installs software; test/package installs ours
  ["Watch it", "promtool"], // alerts.test.ts does, with these files
];

await natsTest(tap, "a cluster lives as the runbook says", { timeoutMs }, async (whole) => {
  const machines = await Machine.three(whole);
  const [first, second, third] = machines as [Machine, Machine, Machine];
  const secret = await setUpNats(machines, runbook);
  const install = runbook.take("Nodes");
  await first.run(install, { secret });
  await Promise.all([second.run(install, { secret }), third.run(install, { secret })]);
  const witnesses = { urls: machines.map((machine) => `ws://${machine.at(5252)}`), secret };
  const alice = await User.of("alice", secret);

  await whole.test("its nodes are told of, and share what is posted", async (t) => {
    t.match(await first.run(runbook.take("Look at it", "whalesong post")), /alice.*hello from the first/);
    const status = await second.run(runbook.take("Look at it", "cluster status"));
    for (const n of [1, 2, 3]) t.match(status, `whalesong-${n}`);
    const told = await Promise.all(machines.map(metrics));
    const keepers = told.filter((text) => /^whalesong_cluster_keeper 1$/m.test(text));
    t.equal(keepers.length, 1, "one of them is the keeper");
    const [, madeAt] = /^whalesong_cluster_snapshot_timestamp_seconds (\S+)$/m.exec(keepers[0]!)!;
    t.ok(Math.abs(Number(madeAt) - Date.now() / 1_000) < 600, "which knows of a snapshot");
  });

  await whole.test("it is upgraded, and nobody misses anything", async (t) => {
    const witness = await Witness.start(t, witnesses);
    for (const part of ["restart whalesong", "restart nats-server"]) {
      for (const machine of machines) {
        await machine.run(runbook.take("Upgrade it", part));
        await witness.posts(5);
      }
    }
    await witness.end(t, "while all nodes and all NATS servers were restarted");
  });

  await whole.test("it loses a node, which comes back with an empty folder", async (t) => {
    const witness = await Witness.start(t, witnesses);
    await third.kill("whalesong");
    await witness.posts(20);
    await third.run(runbook.take("Lose a node"));
    await witness.end(t, "while a node was lost");
    t.match(await alice.posts(third), ["hello from the first"], "it has what was posted before");
  });

  await whole.test("it loses a NATS server, and then all of them", async (t) => {
    const witness = await Witness.start(t, witnesses);
    const start = runbook.take("Lose NATS", "start nats-server");
    await second.kill("nats-server");
    await witness.posts(20);
    t.pass("with two of three it goes on");
    await second.run(start);

    await runEverywhere(machines, runbook.take("Lose NATS", "stop nats-server"));
    await untilUnready(first, /cannot be reached/);
    t.match(await alice.posts(first), ["hello from the first"], "reading goes on");
    await t.rejects(alice.post(first, "into the void"), /unavailable/, "writing does not");
    await runEverywhere(machines, start);
    await witness.posts(5);
    await witness.end(t, "while NATS was lost");
  });

  await whole.test("it is backed up, and restored where nothing is left", async (t) => {
    const witness = await Witness.start(t, witnesses);
    await first.run(runbook.take("Back it up", "start whalesong"));
    await witness.end(t, "while a node was stopped and copied");
    const trial = await first.run(runbook.take("Back it up", "cluster leave"));
    t.match(trial, /a lone broker's now[^]*up to \d+/, "the backup can be opened");
    await alice.post(second, "after the backup");

    await runEverywhere(machines, runbook.take("Restore", "stop nats-server"));
    await first.run(runbook.take("Restore", "cluster init"));
    const start = runbook.take("Restore", "start whalesong");
    await first.run(start);
    await runEverywhere([second, third], start);
    t.same(
      await alice.posts(third),
      ["hello from the first"],
      "what was backed up is there, and what came after is gone",
    );
    await writes(t, witnesses);
  });

  await whole.test("NATS comes back with an older copy, and the nodes' history counts", async (t) => {
    const halt = runbook.take("Lose NATS", "stop nats-server");
    const start = runbook.take("Lose NATS", "start nats-server");
    await runEverywhere(machines, halt);
    for (const machine of machines)
      await cp(machine.path("var/lib/nats"), machine.path("older"), { recursive: true });
    await runEverywhere(machines, start);
    await alice.post(second, "not in the copy");
    await runEverywhere(machines, halt);
    for (const machine of machines) {
      await rm(machine.path("var/lib/nats"), { recursive: true });
      await cp(machine.path("older"), machine.path("var/lib/nats"), { recursive: true });
    }
    await runEverywhere(machines, "sudo systemctl start nats-server");
    for (const machine of machines) await untilUnready(machine, /not the one/);
    t.match(await metrics(first), /^whalesong_cluster_halted 1$/m);
    await t.rejects(alice.post(first, "into the wrong log"), /epoch_mismatch/);

    for (const machine of machines) t.match(await machine.run(runbook.take(mismatch, "doctor")), /up to \d+/);
    await first.run(runbook.take(mismatch, "--replace"));
    await runEverywhere([second, third], runbook.take("Lose a node"));
    t.same(
      await alice.posts(third),
      ["hello from the first", "not in the copy"],
      "nothing that was answered is lost",
    );
    await writes(t, witnesses);
  });
});

await natsTest(
  tap,
  "a broker that stood alone becomes a cluster as the runbook says",
  { timeoutMs },
  async (t) => {
    const machines = await Machine.three(t);
    const [first, second, third] = machines as [Machine, Machine, Machine];
    const secret = await setUpNats(machines, runbook);
    const alice = await User.of("alice", secret);
    const install = runbook.take("Nodes");
    const settings = first.path(`${packagedFolder}/whalesong.env`);
    const ofNode = await readFile(settings, "utf8");
    await writeFile(settings, ofNode.replaceAll(/^WHALESONG_(?:NATS|CLUSTER).*\n/gm, ""));
    await first.run(install, { secret });
    const id = await alice.post(first, "alone");
    const bob = await User.of("bob", secret);
    const reading = await bob.read(first, "user:alice");

    await writeFile(settings, ofNode);
    await first.run(install, { secret }); // it runs on as it is
    await first.run("sudo systemctl restart whalesong");
    await until(() => first.log("whalesong").includes("whalesong cluster init"));
    t.pass("it is not started on what stood alone without being told so");
    await first.run(runbook.take("From a broker that stood alone"));
    await runEverywhere([second, third], `secret=${secret}\n${install}`);
    t.same(await alice.posts(third), ["alone"]);
    t.equal(await alice.get(third, id), "alone", "ids go on");
    await alice.post(second, "together");
    t.same(await bob.readOn(third, "user:alice", reading), ["together"], "cursors go on, at any node");
  },
);

await tap.test("no command of the runbook is left that nobody has run", async (t) => {
  for (const [heading, part] of notHere) runbook.take(heading, part);
  t.same(runbook.left, []);
});

/** That posts arrive. */
async function writes(t: Test, witnesses: { urls: string[]; secret: string }): Promise<void> {
  const witness = await Witness.start(t, witnesses);
  await witness.posts(10);
  await witness.end(t, "and it goes on from there");
}

async function untilUnready(machine: Machine, reason: RegExp): Promise<void> {
  await until(async () => {
    const answer = await fetch(`http://${machine.at(5250)}/readyz`);
    return answer.status === 503 && reason.test(await answer.text());
  });
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const late = AbortSignal.timeout(budget(60_000));
  while (!(await isSo())) {
    late.throwIfAborted();
    await sleep(50);
  }
}

async function metrics(machine: Machine): Promise<string> {
  return await (await fetch(`http://${machine.at(5250)}/metrics`)).text();
}
