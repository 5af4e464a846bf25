/* The runbook, followed: three machines are set up, upgraded, broken, backed up and restored by the commands of broker/RUNBOOK.md with
 * the files of broker/deploy. Real NATS servers with TLS and rights, real nodes; what stands in for systemd is told in machine.ts.
 * A witness posts and reads meanwhile. */

import { cp, rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

import tap from "tap";

import { Machine } from "./machine.ts";
import { natsTest } from "./nats-server.ts";
import { Runbook } from "./runbook.ts";
import { runEverywhere, setUpNats } from "./set-up.ts";
import { User, Witness } from "./witness.ts";

tap.setTimeout(900_000);

const runbook = new Runbook();
const timeoutMs = 600_000;

/** What no test can run. */
const notHere: [heading: string, part: string][] = [
  ["Deploy", "apt-get install"], // installs software, and a user of the machine
  ["Upgrade it", "npm install"], // installs software; test/package installs ours
  ["Look at it", "cluster status"],
  ["From a broker that stood alone", ""],
  ["Restore", "stop nats-server"],
  ["Restore", "cluster init"],
  ["Restore", "start whalesong"],
  ["`epoch_mismatch`", "doctor"],
  ["`epoch_mismatch`", "--replace"],
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

  await whole.test("it is backed up", async (t) => {
    const witness = await Witness.start(t, witnesses);
    await first.run(runbook.take("Back it up"));
    await witness.end(t, "while a node was stopped and copied");
  });

  await whole.test("NATS comes back with an older copy", async (t) => {
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
  });
});

await tap.test("no command of the runbook is left that nobody has run", async (t) => {
  for (const [heading, part] of notHere) runbook.take(heading, part);
  t.same(runbook.left, []);
});

async function untilUnready(machine: Machine, reason: RegExp): Promise<void> {
  await until(async () => {
    const answer = await fetch(`http://${machine.at(5250)}/readyz`);
    return answer.status === 503 && reason.test(await answer.text());
  });
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const late = AbortSignal.timeout(60_000);
  while (!(await isSo())) {
    late.throwIfAborted();
    await sleep(50);
  }
}

async function metrics(machine: Machine): Promise<string> {
  return await (await fetch(`http://${machine.at(5250)}/metrics`)).text();
}
