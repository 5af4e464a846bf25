/* Old data: a cluster that begins with what 0.1.0 wrote, and so at level 1. */

import { fileURLToPath } from "node:url";

import { whalesong } from "../cli/whalesong.ts";

const oldFolder = fileURLToPath(new URL("../old/folder-0.1.0", import.meta.url));

/** Puts the folder of 0.1.0 in the place of a node's, and begins the cluster with it. */
export async function beginWithOldFolder(data: string, nats: string): Promise<void> {
  for (const args of [
    ["restore", oldFolder, "--data", data, "--same-epoch"],
    ["cluster", "init", "--data", data, "--nats", nats],
  ]) {
    const { status, stderr } = await whalesong(args);
    if (status !== 0) throw new Error(stderr);
  }
}
