/* PID namespace: what runs a program where it, and the ids of processes there, are not those of the tests. */

import { spawnSync } from "node:child_process";

import type { Test } from "tap";

const unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/** Runs `body` as a test where a PID namespace may be made, which root may. Elsewhere it is skipped and says why; in CI that is a failure. */
export async function pidNamespaceTest(
  tap: Test,
  name: string,
  body: (t: Test) => Promise<void>,
): Promise<void> {
  const canBeMade = spawnSync(unshare[0]!, [...unshare.slice(1), "true"]).status === 0;
  const missing = "PID namespaces cannot be made (unshare --pid, which root may call)";
  await tap.test(name, async (t) => {
    if (canBeMade) await body(t);
    else if (process.env["CI"] === "true") t.fail(missing);
    else t.pass(`skipped: ${missing}`, { skip: missing });
  });
}

/**
 * The start of a command line: what follows it runs in a namespace of its own, with the process id 1, or with 3 where it is to differ
 * from that of another. When the program that makes the namespace ends, all in it end.
 */
export function inPidNamespace({ isFirst = true } = {}): string[] {
  return isFirst ? unshare : [...unshare, "sh", "-c", '/bin/true; "$@"; exit', "sh"];
}
