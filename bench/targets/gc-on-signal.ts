/* Collects garbage at SIGUSR2. Loaded before the broker's own code where memory is to be measured as it is held; needs
 * --expose-gc. */

process.on("SIGUSR2", () => globalThis.gc?.());
