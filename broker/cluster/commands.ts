/* The commands of `whalesong cluster`: init, status, leave. What they do is loaded when it is asked for. */

import type { Command } from "commander";

import type { NatsConnection } from "nats";

import { addOptions, exposedSecrets, readOptions } from "../flags.ts";
import { type BrokerOptions, OptionsError } from "../options.ts";
import { withoutPassword } from "../secrets.ts";
import { ClusterError } from "./error.ts";

const natsNames = [
  "nats",
  "natsCreds",
  "natsToken",
  "natsTlsCa",
  "natsTlsCert",
  "natsTlsKey",
  "cluster",
] as const;

export function registerCluster(program: Command): void {
  const cluster = program
    .command("cluster")
    .summary("begin a cluster over NATS, and see how it is")
    .description(
      "Several brokers as one, over NATS: each is `whalesong serve --nats …` with a data folder of its own. The first that starts with an\n" +
        "empty folder founds the cluster; `init` begins one with the data of a broker that stood alone.",
    );
  registerInit(cluster);
  registerStatus(cluster);
  registerLeave(cluster);
}

function registerInit(cluster: Command): void {
  const init = cluster.command("init").description("make a data folder's data the beginning of a cluster");
  addOptions(init, ["data", ...natsNames, "clusterReplicas", "clusterRetainAgeMs", "clusterRetainBytes"]);
  init
    .option("--replace", "end the cluster of that name that there is; its nodes begin again from this data")
    .addHelpText(
      "after",
      `
The broker of that folder, and all nodes, must be stopped. Clients carry on: offsets, ids, cursors and epoch stay as they are; data
of a node whose cluster came to an end go on in a new epoch, so that no cursor names what this folder does not have.

Examples:
  $ whalesong cluster init --data ./data --nats nats://10.0.0.1:4222
  $ whalesong serve --data ./data --nats nats://10.0.0.1:4222           its first node
  $ whalesong serve --data ./other --nats nats://10.0.0.1:4222          on other machines: nodes that load what it has`,
    )
    .action(async (given: { replace?: true }, command: Command) => {
      const options = optionsOf(command);
      const { initCluster } = await import("./init.ts");
      await withNats({ ...options, logLevel: "warn" }, async (connection, quiet) => {
        const { offset, bytes, epoch } = await initCluster(quiet, connection, {
          replace: given.replace ?? false,
        });
        process.stdout.write(
          `cluster ${options.cluster} begins with the data of ${options.data}: ${offset} commands, epoch ${epoch}, ${bytes} bytes in NATS\n` +
            `next: whalesong serve --data ${options.data} --nats ${options.nats!.map(withoutPassword).join(",")}\n`,
        );
      });
    });
}

function registerStatus(cluster: Command): void {
  const status = cluster.command("status").description("show a cluster's log, nodes and snapshots");
  addOptions(status, natsNames)
    .option("--json", "one line of JSON")
    .addHelpText(
      "after",
      `
A node that does not answer is not shown. lag: batches of the log that a node has yet to apply. Exit status 1 when there is no log.

Examples:
  $ whalesong cluster status --nats nats://10.0.0.1:4222
  $ whalesong cluster status --json | jq '.nodes[] | {node, lag}'       with WHALESONG_NATS set`,
    )
    .action(async (given: { json?: true }, command: Command) => {
      const { reportCluster, toText } = await import("./report.ts");
      await withNats(optionsOf(command), async (connection, { cluster: name }) => {
        const report = await reportCluster(connection, name);
        process.stdout.write(given.json ? `${JSON.stringify(report)}\n` : toText(report, Date.now()));
        process.exitCode = report.log === null ? 1 : 0;
      });
    });
}

function registerLeave(cluster: Command): void {
  addOptions(cluster.command("leave"), ["data"])
    .description("make the data of a node those of a broker that stands alone")
    .addHelpText(
      "after",
      `
The node must be stopped. Its data go on in a new epoch, since the cluster may go another way: clients' cursors are refused
with epoch_mismatch. The cluster itself is not touched.`,
    )
    .action(async (_given, command: Command) => {
      const { data } = readOptions(command);
      const { leaveCluster } = await import("./init.ts");
      await leaveCluster(data);
      process.stdout.write(`${data} is a lone broker's now\nnext: whalesong serve --data ${data}\n`);
    });
}

/** What a command that speaks to NATS was told. A password that others see in it is warned of, as `serve` does. @throws OptionsError */
function optionsOf(command: Command): BrokerOptions {
  for (const warning of exposedSecrets(command)) process.stderr.write(`whalesong: ${warning}\n`);
  return readOptions(command);
}

/** @throws OptionsError, ClusterError with what NATS said */
async function withNats(
  options: BrokerOptions,
  work: (connection: NatsConnection, options: BrokerOptions) => Promise<void>,
): Promise<void> {
  if (options.nats === undefined)
    throw new OptionsError("nats: name the NATS servers with --nats, or WHALESONG_NATS");
  const servers = options.nats.join(", ");
  const { NatsError } = await import("nats");
  const { connectNatsOnce } = await import("./connection.ts");
  let connection: NatsConnection;
  try {
    connection = await connectNatsOnce(options);
  } catch (cause) {
    if (cause instanceof OptionsError) throw cause;
    throw new ClusterError(`NATS cannot be reached at ${servers}: ${(cause as Error).message}`, { cause });
  }
  try {
    await work(connection, options);
  } catch (cause) {
    if (!(cause instanceof NatsError)) throw cause;
    const said = cause.code === "503" ? "JetStream is not enabled, or not ready" : cause.message;
    throw new ClusterError(`NATS at ${servers}: ${said}`, { cause });
  } finally {
    await connection.close();
  }
}
