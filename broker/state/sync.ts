/* Sync: what was written, and what names there are, lasts over a loss of power. */

import { open } from "node:fs/promises";

export function syncFile(path: string): Promise<void> {
  return sync(path, "r+");
}

/** So that new names in it last. */
export function syncFolder(path: string): Promise<void> {
  return sync(path, "r");
}

async function sync(path: string, flags: string): Promise<void> {
  const file = await open(path, flags);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
