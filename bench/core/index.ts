/* Core: the figures that a broker standing alone has to hold. */

import type { Figure } from "../figure.ts";
import type { Run } from "../run.ts";
import { measureFanOut } from "./fanout.ts";
import { measureLone } from "./lone.ts";
import { measureMemory } from "./memory.ts";
import { measurePage } from "./page.ts";
import { measurePosts } from "./posts.ts";
import { measureResume } from "./resume.ts";

/** Its parts, in the order they run: what is disturbed most by what ran before comes first. */
export const coreParts: Readonly<Record<string, (run: Run) => Promise<Figure[]>>> = {
  lone: measureLone,
  posts: measurePosts,
  fanout: measureFanOut,
  page: measurePage,
  resume: measureResume,
  memory: measureMemory,
};
