/* Random sequences against the model: every stream gets exactly what it must, in order, none twice.
 *
 * A failure is repeated with the seed it prints: WHALESONG_SEED=… . Rounds in flight may order otherwise from run to run;
 * what is drawn does not. WHALESONG_ROUNDS makes it longer. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import tap from "tap";

import { Random } from "./random.ts";
import { World } from "./world.ts";
import { budget } from "../pace.ts";

await tap.test(
  "every stream and page agrees with the model, whatever is done",
  { timeout: budget(300_000) },
  async (t) => {
    const random = Random.seeded();
    t.comment(`WHALESONG_SEED=${random.seed}`);
    const folder = await mkdtemp(join(tmpdir(), "whalesong-"));
    const world = new World(folder, random);
    t.teardown(async () => {
      await world.stop();
      await rm(folder, { recursive: true });
    });
    await world.start();
    const rounds = Number(process.env["WHALESONG_ROUNDS"] ?? 100);
    for (let round = 0; round < rounds; round++) {
      try {
        await world.round();
      } catch (cause) {
        throw new Error(`round ${round}, WHALESONG_SEED=${random.seed}: ${String(cause)}`, { cause });
      }
    }
    t.comment(`${world.commands} commands, ${world.events} events compared`);
    t.ok(world.commands > rounds * 20);
    t.ok(world.events > rounds * 20);
  },
);
