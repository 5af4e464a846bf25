/* Epoch name: the identity of a history. */

import { randomBytes } from "node:crypto";

/** Eight letters and digits, 40 random bits: not guessed, and not met twice. */
export function newEpochName(): string {
  return randomBytes(5).readUIntBE(0, 5).toString(36).padStart(8, "0").slice(-8);
}
