/* Reader id: whether another process reads the store under this one's process id.
 *
 * LMDB tells its readers apart by process id. In another PID namespace (another container on the same volume) a process may have the
 * same one. LMDB then lets the second not read, in a way that ends it with a TypeError of lmdb's; and if it did read, its end would free
 * the places of the first. So it is looked before a store is opened: each reader holds a lock on the byte of DATA/lock.mdb that has its
 * id's number, and the kernel says whose.
 *
 * Not while this process has the store open: closing any descriptor of lock.mdb drops the locks that LMDB holds on it. */

import { open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { FolderError, readersFile } from "./folder.ts";
import { type SystemCall, systemCall } from "./system-calls.ts";

/** The store can be read once the other process has ended, or by a process with another id. */
export class ReaderIdError extends FolderError {}

/** Linux with 64 bits, which is where PID namespaces are: `struct flock` is
 *  type i16 | whence i16 | 4 bytes | start i64 | length i64 | process id i32 | 4 bytes. */
const isKnown =
  process.platform === "linux" && ["x64", "arm64", "riscv64", "loong64", "ppc64"].includes(process.arch);
const lockBytes = 32;
const F_GETLK = 5;
const F_WRLCK = 1;
const F_UNLCK = 2;

/** For how long a broker waits for another process to have done with reading, and how often it looks, in ms. */
const patienceMs = 10_000;
const lookMs = 50;

let call: Promise<SystemCall> | undefined;

/** Waits for who reads under this process' id, such as `doctor` in another container. @throws ReaderIdError when it goes on for long */
export async function whenReaderIdIsFree(path: string): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    try {
      await refuseTakenReaderId(path);
      return;
    } catch (error) {
      if (!(error instanceof ReaderIdError) || performance.now() > deadline) throw error;
      await sleep(lookMs);
    }
  }
}

/** @throws ReaderIdError */
export async function refuseTakenReaderId(path: string): Promise<void> {
  if (!isKnown) return;
  const file = await open(join(path, readersFile)).catch(() => undefined);
  if (file === undefined) return; // nobody reads
  try {
    call ??= systemCall("int fcntl(int fd, int command, ...)");
    const fcntl = await call;
    const lock = Buffer.alloc(lockBytes);
    lock.writeInt16LE(F_WRLCK, 0);
    lock.writeBigInt64LE(BigInt(process.pid), 8);
    lock.writeBigInt64LE(1n, 16);
    const { result } = fcntl(file.fd, F_GETLK, "void *", lock);
    if (result !== 0 || lock.readInt16LE(0) === F_UNLCK) return;
  } finally {
    await file.close();
  }
  throw new ReaderIdError(
    `data folder ${path}: a process in another container or PID namespace, with the process id ${process.pid} there as this one has here, ` +
      "reads its store; wait until that one has ended",
  );
}
