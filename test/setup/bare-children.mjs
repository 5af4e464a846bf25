/* The test runner's hooks are for the tests' own processes: what these start does without, and starts in half the time.
 *
 * The runner puts its hooks into NODE_OPTIONS of every child, by process-on-spawn, a package of its own. */

import { createRequire } from "node:module";

const isHook = (flag) => flag.includes("@tapjs/processinfo");

const hook = process.execArgv.find(isHook)?.split("=")[1];
if (hook !== undefined) {
  createRequire(hook)("process-on-spawn").removeAllListeners();
  process.execArgv = process.execArgv.filter((flag) => !isHook(flag));
  const { NODE_OPTIONS = "" } = process.env;
  const others = NODE_OPTIONS.split(/\s+(?="?-)/).filter((flag) => !isHook(flag));
  if (others.join("") === "") delete process.env.NODE_OPTIONS;
  else process.env.NODE_OPTIONS = others.join(" ");
}
