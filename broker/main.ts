#!/usr/bin/env node
/* The `whalesong` command: flags and signals.
 *
 * `serve`, `backup`, `restore` and `doctor` are the broker's; `bench` is the load harness; the others are clients of a running one. All are loaded, like the broker
 * itself, when they are asked for. This is where broker and clients meet: it composes, and neither knows the other. */

import { Command } from "commander";

import { exitTwoOnUsage } from "../clients/cli/command.ts";
import { registerClientCommands } from "../clients/cli/index.ts";
import { registerBackup, registerRestore } from "./backup/commands.ts";
import type { Broker } from "./broker.ts";
import { registerCluster } from "./cluster/commands.ts";
import { ClusterError } from "./cluster/error.ts";
import { registerDoctor } from "./doctor.ts";
import { addServeOptions, exposedSecrets, readServeOptions } from "./flags.ts";
import { createLogger } from "./logger.ts";
import { OptionsError } from "./options.ts";
import { FolderError } from "./state/folder.ts";
import { packageVersion } from "./version.ts";

const program = exitTwoOnUsage(new Command("whalesong"))
  .description("A pub/sub message broker for social streams.")
  .version(packageVersion())
  .showHelpAfterError("(whalesong --help, or whalesong COMMAND --help, says more)")
  .addHelpText(
    "after",
    `
A first look, in two terminals:
  $ whalesong serve                                  a broker on 127.0.0.1:5252, data in ./data
  $ whalesong follow alice --user bob                bob follows alice
  $ whalesong tail --user bob                        what bob sees, live
  $ whalesong post "hello @bob" --user alice         alice says something`,
  );

addServeOptions(exitTwoOnUsage(program.command("serve")).description("run a broker"))
  .addHelpText(
    "after",
    "\nFlags beat WHALESONG_… variables, which beat the config file. Without --auth-secret or --jwks whoever connects says who\nthey are (open mode), and the broker listens on loopback only.",
  )
  .action(async (_options, command: Command) => {
    const { Broker } = await import("./broker.ts");
    const options = readServeOptions(command);
    const logger = createLogger(options.logLevel);
    for (const warning of exposedSecrets(command)) logger.warn(warning);
    const broker = await Broker.start(options);
    console.log(greeting(broker));
    broker.ended.catch((error: unknown) => fail(isExplained(error) ? error.message : String(error)));
    stopOnSignal(broker);
  });
registerCluster(program);
registerDoctor(program);
registerBackup(program);
registerRestore(program);
registerClientCommands(program);
registerBench(program);

try {
  await program.parseAsync();
} catch (error) {
  if (isExplained(error)) fail(error.message);
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "EADDRINUSE") fail(`${message}: another program listens there; choose another --port`);
  if (code === "EACCES" || code === "EADDRNOTAVAIL") fail(`${message}: choose another --host or --port`);
  throw error;
}

/** The harness has its own options and help: it gets what stands behind `bench` as it is. */
function registerBench(whalesong: Command): void {
  whalesong
    .enablePositionalOptions()
    .command("bench")
    .summary("measure a broker under load")
    .description("Measures a broker under load: `whalesong bench --help` lists the workloads.")
    .argument("[arguments...]")
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: string[]) => {
      const { runBench } = await import("../bench/cli.ts");
      await runBench(args, "whalesong bench");
    });
}

/** Its message is for whoever typed the command: what is wrong, and what to do. */
function isExplained(error: unknown): error is Error {
  return error instanceof OptionsError || error instanceof FolderError || error instanceof ClusterError;
}

function fail(message: string): never {
  console.error(`whalesong: ${message}`);
  process.exit(1);
}

/** What to type next, to see a post arrive. */
function greeting(broker: Broker): string {
  const url = broker.url.replace(/^http/, "ws");
  const flags = broker.options.port === 5252 ? "" : ` --url ${url}`;
  const operators = broker.operatorUrl === undefined ? "" : `\nOperators' port: ${broker.operatorUrl}`;
  const notices = broker.notices.map((notice) => `\n! ${notice}`).join("");
  const start = `whalesong listens on ${broker.url}  (data in ${broker.options.data}, epoch ${broker.epoch})${operators}${notices}`;
  if (!broker.isOpen)
    return `${start}\nTokens are checked. Make one to try with:  npx whalesong token --help`;
  return `${start}
Open mode: whoever connects says who they are, so it listens on loopback only.

See a post arrive. In a second terminal:
  npx whalesong follow alice --user bob${flags}
  npx whalesong tail --user bob${flags}
In a third:
  npx whalesong post "hello @bob" --user alice${flags}
`;
}

/** The first SIGTERM or SIGINT drains; a second one ends at once. Nothing answered is lost either way. */
function stopOnSignal(broker: Broker): void {
  let isStopping = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (isStopping) process.exit(signal === "SIGINT" ? 130 : 143);
    isStopping = true;
    broker.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
}
