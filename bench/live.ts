/* Live: the one line on standard error that says how a round goes, while it goes.
 *
 * On a terminal it is written over in place; elsewhere it is a line every few seconds. */

const lineEveryMs = 5_000;
const mostColumns = 160;

export class LiveLine {
  readonly #name: string;
  readonly #isTerminal = process.stderr.isTTY;
  #writtenMs = -Infinity;
  #length = 0;

  constructor(name: string) {
    this.#name = name;
  }

  update(text: string): void {
    const nowMs = performance.now();
    const line = `${this.#name}  ${text}`;
    if (this.#isTerminal) {
      const columns = Math.min(process.stderr.columns, mostColumns) - 1;
      const shown = line.slice(0, columns);
      process.stderr.write(`\r${shown.padEnd(this.#length)}`);
      this.#length = shown.length;
    } else if (nowMs - this.#writtenMs >= lineEveryMs) {
      this.#writtenMs = nowMs;
      process.stderr.write(`${line}\n`);
    }
  }

  /** Leaves `text` as the last word. */
  end(text: string): void {
    this.#writtenMs = -Infinity;
    this.update(text);
    if (this.#isTerminal) process.stderr.write("\n");
  }
}

export function rate(value: number): string {
  return `${Math.round(value).toLocaleString("en")}/s`;
}
