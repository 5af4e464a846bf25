/* What the runbook says of setting up NATS, done on its machines. */

import { cp } from "node:fs/promises";

import { type Machine, packagedFolder } from "./machine.ts";
import { knowsSyncInterval } from "./nats-server.ts";
import type { Runbook } from "./runbook.ts";

const copies = `${packagedFolder}/certs`;

/** Runs a block on all machines at once. */
export async function runEverywhere(machines: readonly Machine[], block: string): Promise<void> {
  await Promise.all(machines.map((machine) => machine.run(block)));
}

/** Settles once NATS serves on all of them, with the secret that was made for clients' tokens. */
export async function setUpNats(machines: readonly Machine[], runbook: Runbook): Promise<string> {
  await runEverywhere(machines, runbook.take("Deploy", "ln -sf"));
  const [first, ...others] = machines as [Machine, ...Machine[]];
  const certificates = runbook.take("Certificates and the secret");
  const secret = (await first.run(`${certificates}\nprintf 'secret %s' "$secret"`)).split("secret ")[1]!;
  // As by whatever copies files from machine to machine.
  for (const machine of others) await cp(first.path(copies), machine.path(copies), { recursive: true });
  await runEverywhere(machines, runbook.take("NATS", "nats-server.env"));
  const withoutSync = runbook.take("NATS", "sync_interval");
  if (!knowsSyncInterval()) await runEverywhere(machines, withoutSync);
  for (const part of ["enable --now", "healthz"]) await runEverywhere(machines, runbook.take("NATS", part));
  return secret;
}

/** The files by which a client of these servers is known. */
export function certificateFiles(
  machine: Machine,
  who: string,
): { caFile: string; certFile: string; keyFile: string } {
  const file = (name: string): string => machine.path(`${copies}/${who}/${name}`);
  const kind = who.startsWith("nats-") && who !== "nats-admin" ? "server" : "client";
  return { caFile: file("ca.pem"), certFile: file(`${kind}.pem`), keyFile: file(`${kind}-key.pem`) };
}
