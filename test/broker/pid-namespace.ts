/* PID namespace: what runs a program where it, and the ids of processes there, are not those of the tests. */

import { spawnSync } from "node:child_process";

const unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/** Whether one may be made here, which root may. */
export const canMakePidNamespace = spawnSync(unshare[0]!, [...unshare.slice(1), "true"]).status === 0;

/**
 * The start of a command line: what follows it runs in a namespace of its own, with the process id 1, or with 3 where it is to differ
 * from that of another. When the program that makes the namespace ends, all in it end.
 */
export function inPidNamespace({ isFirst = true } = {}): string[] {
  return isFirst ? unshare : [...unshare, "sh", "-c", '/bin/true; "$@"; exit', "sh"];
}
