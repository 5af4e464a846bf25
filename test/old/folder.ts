/* The folder of 0.1.0, put in the place of a broker's data by this version. */

import { fileURLToPath } from "node:url";

import { type Ended, whalesong } from "../cli/whalesong.ts";

export const oldFolder = fileURLToPath(new URL("folder-0.1.0", import.meta.url));

export async function restoreOldFolder(data: string): Promise<void> {
  await done(whalesong(["restore", oldFolder, "--data", data, "--same-epoch"]));
}

/** Makes it the beginning of a cluster, in the folder of the node that is to start first. */
export async function beginWithOldFolder({ folder }: { folder: string }, nats: string): Promise<void> {
  await restoreOldFolder(folder);
  await done(whalesong(["cluster", "init", "--data", folder, "--nats", nats]));
}

/** What a command printed. @throws with what it said when it failed */
export async function done(ended: Promise<Ended>): Promise<string> {
  const { status, stderr, stdout } = await ended;
  if (status !== 0) throw new Error(stderr);
  return stdout;
}
