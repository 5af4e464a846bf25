/* The commands `whalesong backup` and `whalesong restore`. What they do is loaded when it is asked for. */

import { resolve } from "node:path";

import { type Command, Option } from "commander";

import { readApart } from "../apart.ts";
import type { Restored } from "./restore.ts";

const dataOption = (text: string): Option =>
  new Option("--data <folder>", text).env("WHALESONG_DATA").default("./data");

export function registerBackup(program: Command): void {
  const command = program
    .command("backup")
    .summary("copy a broker's data, while it runs or not")
    .description(
      "Copies the data of a broker into a new folder, of one moment. The broker may run meanwhile, and goes on.",
    )
    .argument("<folder>", "where to: a folder that is not there yet, or is empty")
    .addOption(dataOption("the broker's data folder"))
    .option("--json", "one line of JSON")
    .addHelpText(
      "after",
      `
The folder gets data.mdb, without free pages, and backup.json, which says what it is, with its SHA-256. When the command says that
it is done, every row of the copy was read and all of it is on disk. Run it as the broker's user.

Examples:
  $ whalesong backup /var/backups/whalesong/monday --data /var/lib/whalesong
  $ whalesong restore /var/backups/whalesong/monday --data /var/lib/whalesong --replace`,
    );
  exitTwo(command).action(async (folder: string, { data, json }: { data: string; json?: true }) => {
    await readApart(async () => {
      const { backUp } = await import("./backup.ts");
      const { walked, ...backup } = await backUp(resolve(data), resolve(folder), {
        onProgress: (copied, of) => process.stderr.write(`copied ${copied} bytes, of ${of} at most\n`),
      });
      const { head, floor, epoch, bytes, sha256 } = backup;
      process.stdout.write(
        json
          ? `${JSON.stringify({ folder, ...backup, ...walked })}\n`
          : `${data} is backed up in ${folder}: entries after ${floor} up to ${head}, epoch ${epoch}\n` +
              `${bytes} bytes, on disk; ${walked.rows} rows in ${walked.tables} tables were read; SHA-256 ${sha256}\n`,
      );
    });
  });
}

interface RestoreFlags {
  data: string;
  replace?: true;
  sameEpoch?: true;
  json?: true;
}

export function registerRestore(program: Command): void {
  const command = program
    .command("restore")
    .summary("put a backup in the place of a broker's data")
    .description(
      "Puts a backup, or a copy of a data folder, in the place of a broker's data. The broker must be stopped.",
    )
    .argument("<folder>", "the backup")
    .addOption(dataOption("the broker's data folder; made when missing"))
    .option("--replace", "what the data folder has is gone; without it the folder must be empty")
    .option("--same-epoch", "keep the epoch: nothing was answered since the backup was made")
    .option("--json", "one line of JSON")
    .addHelpText(
      "after",
      `
What was published after the backup is gone, and its offsets will be those of other posts. So a new epoch begins: clients that hold a cursor
from before are told so (epoch_mismatch) and start again from "earliest" or "live". To move a broker to another machine nothing is
lost: stop it, back it up, and restore with --same-epoch; then cursors go on.

The backup is only read, and checked before anything is replaced. Data of a node of a cluster keep the cluster's epoch: started as a node
it reads what it lacks from the cluster's log.

Examples:
  $ whalesong restore /var/backups/whalesong/monday --data /var/lib/whalesong --replace
  $ whalesong restore ./moved --data ./data --same-epoch`,
    );
  exitTwo(command).action(async (folder: string, { data, replace, sameEpoch, json }: RestoreFlags) => {
    const { restore } = await import("./restore.ts");
    const restored = await restore(resolve(folder), resolve(data), {
      replace: replace ?? false,
      sameEpoch: sameEpoch ?? false,
    });
    process.stdout.write(
      json ? `${JSON.stringify({ data, ...restored })}\n` : toText(data, folder, restored),
    );
  });
}

function toText(data: string, folder: string, restored: Restored): string {
  const { head, floor, before, epoch, isOfCluster, isVerified, replaced } = restored;
  const lines = [`${data} has the backup ${folder}: entries after ${floor} up to ${head}`];
  if (replaced !== undefined)
    lines.push(`gone is what it had: up to ${replaced.head}, epoch ${replaced.epoch}`);
  if (!isVerified) lines.push("it was read whole, but has no backup.json to be compared with");
  if (isOfCluster) lines.push(`they are a node's of a cluster: the epoch stays ${epoch}`);
  else if (before === epoch) lines.push(`the epoch stays ${epoch}: cursors go on`);
  else
    lines.push(
      `a new epoch begins, ${epoch} after ${before}: cursors from before are refused with epoch_mismatch`,
    );
  lines.push(
    isOfCluster
      ? `next: whalesong serve --data ${data} --nats …, or whalesong cluster init or leave`
      : `next: whalesong serve --data ${data}`,
  );
  return `${lines.join("\n")}\n`;
}

function exitTwo(command: Command): Command {
  return command.exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
}
