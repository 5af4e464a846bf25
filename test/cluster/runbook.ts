/* Runbook: the commands of broker/RUNBOOK.md, as they stand there, by heading. It keeps count of those that were taken, so that
 * none can be added that nobody runs. */

import { readFileSync } from "node:fs";

export interface Block {
  heading: string;
  commands: string;
}

export class Runbook {
  readonly #blocks: Block[];
  readonly #taken = new Set<Block>();

  constructor(markdown = readFileSync(new URL("../../broker/RUNBOOK.md", import.meta.url), "utf8")) {
    this.#blocks = blocksOf(markdown);
  }

  /** The shell commands under a heading; of several blocks the one that holds `part`. */
  take(heading: string, part = ""): string {
    const found = this.#blocks.filter((block) => block.heading === heading && block.commands.includes(part));
    if (found.length !== 1) {
      const which = part === "" ? "" : ` with ${JSON.stringify(part)}`;
      throw new Error(
        `RUNBOOK.md has ${found.length} blocks of commands under ${JSON.stringify(heading)}${which}`,
      );
    }
    this.#taken.add(found[0]!);
    return found[0]!.commands;
  }

  /** Those nobody took. */
  get left(): Block[] {
    return this.#blocks.filter((block) => !this.#taken.has(block));
  }
}

function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let heading = "";
  let lines: string[] | undefined;
  let isShell = false;
  for (const line of markdown.split("\n")) {
    if (line.startsWith("```")) {
      if (lines === undefined) {
        lines = [];
        isShell = line === "```sh";
      } else {
        if (isShell) blocks.push({ heading, commands: lines.join("\n") });
        lines = undefined;
      }
    } else if (lines !== undefined) {
      lines.push(line);
    } else if (line.startsWith("#")) {
      heading = line.replace(/^#+ /, "");
    }
  }
  return blocks;
}
