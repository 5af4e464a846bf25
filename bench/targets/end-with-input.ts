/* For servers of the harness's own: one ends when the harness does, and collects garbage at SIGUSR2. */

export function endWithInput(): void {
  process.stdin.resume().on("end", () => process.exit(0));
  process.on("SIGUSR2", () => globalThis.gc?.());
}
