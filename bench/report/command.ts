/* The command `bench compare`: two result files, side by side. */

import { writeFileSync } from "node:fs";

import type { Command } from "commander";

import { renderComparison } from "./compare.ts";
import { renderComparisonHtml } from "./html.ts";
import { loadResult } from "./load.ts";

export function registerCompare(program: Command): void {
  program
    .command("compare")
    .description("two results beside each other: what was measured before, after, and the ratio")
    .argument("<before>", "a file that `--json` wrote")
    .argument("<after>", "another")
    .option("--html <file>", "write both, and the comparison, as one page, too")
    .action((beforeFile: string, afterFile: string, { html }: { html?: string }) => {
      const [before, after] = [loadResult(beforeFile), loadResult(afterFile)];
      process.stdout.write(renderComparison(before, after));
      if (html !== undefined) writeFileSync(html, renderComparisonHtml(before, after));
    });
}
