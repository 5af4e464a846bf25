/* Flock: the kernel's lock of an open file or folder.
 *
 * It belongs to what `open` returned: whoever opens the same file a second time, in whatever process, container or PID namespace, is
 * refused, and the kernel lets go of it when the descriptor is closed or its process ends, however it ends. Node.js opens all files so that
 * programs it starts do not inherit them.
 */

import { constants } from "node:os";

import { type SystemCall, SystemCallError, systemCall } from "./system-calls.ts";

/** The same on Linux, macOS and the BSDs. */
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;

const { EWOULDBLOCK, EAGAIN, EINTR, EBADF, EINVAL, ENOSYS, ENOLCK, ENOTSUP, EOPNOTSUPP } = constants.errno;
/** Of a file system that knows no such locks, or none of folders, as NFS does. */
const unsupported: ReadonlySet<number> = new Set([EBADF, EINVAL, ENOSYS, ENOLCK, ENOTSUP, EOPNOTSUPP]);

/** The call cannot be made on this platform, or means nothing to what was opened. */
export class FlockError extends Error {
  override readonly name = "FlockError";
  /** Only this file or folder cannot be locked: its file system does not know how. */
  readonly isOfFileSystem: boolean;

  constructor(
    message: string,
    { isOfFileSystem = false, ...options }: ErrorOptions & { isOfFileSystem?: boolean } = {},
  ) {
    super(message, options);
    this.isOfFileSystem = isOfFileSystem;
  }
}

let call: Promise<SystemCall> | undefined;

/** Takes the lock of `fd` if nobody else has it; whether it was free. `shared`: if nobody else has it for themselves alone.
 *  @throws FlockError */
export async function tryFlock(fd: number, { shared = false } = {}): Promise<boolean> {
  const flock = await load();
  for (;;) {
    const { result, errno } = flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB);
    if (result === 0) return true;
    if (errno === EWOULDBLOCK || errno === EAGAIN) return false;
    if (errno === EINTR) continue;
    const isOfFileSystem = unsupported.has(errno);
    const why = isOfFileSystem ? "its file system has no such locks" : "the call failed";
    throw new FlockError(`${why} (flock, errno ${errno})`, { isOfFileSystem });
  }
}

async function load(): Promise<SystemCall> {
  try {
    call ??= systemCall("int flock(int fd, int operation)");
    return await call;
  } catch (cause) {
    if (!(cause instanceof SystemCallError)) throw cause;
    throw new FlockError(cause.message, { cause });
  }
}
