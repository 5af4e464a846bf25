/* Opens a workload's readers at a target: follows first, where they last, then connections, then who publishes. */

import type { Loads } from "./loads.ts";
import type { Site } from "./workload.ts";

export async function openReaders({ run, target }: Site, loads: Loads, name: string): Promise<void> {
  if (target.abilities.follows) {
    await run.phase(`${name}: follows (${target.name})`, loads.follows, (progress) =>
      loads.prepare(progress),
    );
  }
  await run.phase(`${name}: connect (${target.name})`, loads.readers, (progress) =>
    loads.open("live", progress),
  );
  await loads.openPublishers();
}
