/* Pace: how slow this machine is at present, so that a test that waits allows for it.
 *
 * A budget is how long something may take on a quiet machine, with room to spare; `budget` gives what it may take here and now. It never makes
 * a test pass or fail by itself: a test waits for an event, and the budget says when to give up.
 *
 *   pace  1 on a quiet machine, 10 at most
 *         the most of:  waiting processes for each core  (the load average)
 *                       time that a piece of work takes  against the time the processor spent on it, and against a usual one
 *                       time that an fdatasync takes     against a usual disk */

import { createHash } from "node:crypto";
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";

const mostPace = 10;
/** The work: what a usual processor takes for it, in ms. */
const workBytes = 16 * 1024 * 1024;
const usualWorkMs = 60;
/** What some fdatasync of a usual disk take, in ms. */
const syncs = 4;
const usualSyncsMs = 40;

let measured: number | undefined;

/** How many times as long as on a quiet machine things take now. */
export function pace(): number {
  measured ??= Math.max(workPace(), diskPace());
  const load = loadavg()[0]! / availableParallelism();
  return Math.min(mostPace, Math.max(1, measured, load));
}

/** What a quiet machine does in `ms`, this one does in so many. */
export function budget(ms: number): number {
  return Math.ceil(ms * pace());
}

function workPace(): number {
  const before = process.cpuUsage();
  const start = performance.now();
  createHash("sha256").update(Buffer.alloc(workBytes)).digest();
  const tookMs = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  const spentMs = Math.max(1, (user + system) / 1_000);
  return Math.max(tookMs / spentMs, tookMs / usualWorkMs);
}

function diskPace(): number {
  const folder = mkdtempSync(join(tmpdir(), "whalesong-pace-"));
  const file = openSync(join(folder, "file"), "w");
  const block = Buffer.alloc(4_096);
  const start = performance.now();
  for (let i = 0; i < syncs; i++) {
    writeSync(file, block);
    fdatasyncSync(file);
  }
  const tookMs = performance.now() - start;
  closeSync(file);
  rmSync(folder, { recursive: true });
  return tookMs / usualSyncsMs;
}
