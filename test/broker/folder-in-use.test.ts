/* One broker has a data folder at a time, wherever the second one runs and whatever was removed from the folder. */

import { spawnSync } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";

import tap from "tap";

import { budget } from "../pace.ts";
import { folder, postsOf, publish, start, unready } from "./own-folder.ts";
import { inPidNamespace, pidNamespaceTest } from "./pid-namespace.ts";
import { nodeArgs } from "../program.ts";

/** Tries to start another broker, in a namespace of its own where `by` says so. What it says when it is refused. */
function second(data: string, by: string[] = []): string {
  const [program, ...args] = [...by, process.execPath, ...nodeArgs("broker/main")];
  const serve = ["serve", "--data", data, "--port", "0", "--workers", "0"];
  const { status, stderr, stdout } = spawnSync(program!, [...args, ...serve], {
    encoding: "utf8",
    timeout: budget(60_000),
    killSignal: "SIGKILL",
  });
  return status === 1 ? stderr : `status ${status}: ${stdout}${stderr}`;
}

for (const isFirst of [true, false]) {
  const which = isFirst ? "with the same process id there" : "with another process id there";
  await pidNamespaceTest(
    tap,
    `a broker in a PID namespace of its own, ${which}, is refused the folder of another`,
    async (t) => {
      const data = await folder(t);
      const broker = await start(t, data, { by: inPidNamespace() });
      t.same(await publish(broker, "first"), { status: 201 });
      t.match(second(data, inPidNamespace({ isFirst })), /data folder .*: in use by another broker/);
      t.match(second(data), /data folder .*: in use by another broker/, "so is one outside");
      t.same(await publish(broker, "second"), { status: 201 }, "the first has not noticed");
      t.equal(await postsOf(broker), 2);
      t.equal(await unready(broker), undefined);
      await broker.kill();
      const next = await start(t, data, { by: inPidNamespace({ isFirst }) });
      t.equal(await postsOf(next), 2, "once it is gone the folder is free, and whole");
    },
  );

  await pidNamespaceTest(
    tap,
    `doctor in a PID namespace of its own, ${which}, tells of a running broker and its store, and does it no harm`,
    async (t) => {
      const data = await folder(t);
      const broker = await start(t, data, { by: inPidNamespace() });
      await publish(broker, "first");
      for (const more of [["--json"], ["--digest"]]) {
        const [program, ...args] = [
          ...inPidNamespace({ isFirst }),
          process.execPath,
          ...nodeArgs("broker/main"),
        ];
        const command = [...args, "doctor", "--data", data, "--port", "0", ...more];
        const { stdout, stderr } = spawnSync(program!, command, {
          encoding: "utf8",
          timeout: budget(60_000),
        });
        t.equal(stderr, "");
        if (more[0] === "--digest") t.match(stdout, /^epoch \w+ {2}head 1 {2}digest [0-9a-f]{64}\n$/);
        else {
          const { checks } = JSON.parse(stdout) as { checks: { name: string }[] };
          t.match(
            checks.find(({ name }) => name === "data folder"),
            { status: "warn", found: /in use by/ },
          );
          t.match(
            checks.find(({ name }) => name === "store"),
            { status: "ok", found: /up to 1$/ },
          );
        }
      }
      t.same(await publish(broker, "second"), { status: 201 });
      t.equal(await postsOf(broker), 2);
    },
  );
}

await tap.test(
  "a broker killed with its workers leaves no lock behind: the next starts at once",
  async (t) => {
    const data = await folder(t);
    for (let life = 1; life <= 2; life++) {
      const broker = await start(t, data, { flags: ["--workers", "2"] });
      t.same(await publish(broker, `life ${life}`), { status: 201 });
      await broker.kill();
    }
    const last = await start(t, data);
    t.equal(await postsOf(last), 2);
  },
);

await tap.test(
  "whatever is removed from the folder of a running broker, no second one gets it",
  async (t) => {
    for (const name of ["lock", "data.mdb", "lock.mdb"]) {
      const data = await folder(t);
      const broker = await start(t, data);
      await publish(broker, "first");
      await rm(join(data, name));
      t.match(second(data), /in use by another broker/, name);
      await broker.kill();
    }
  },
);
