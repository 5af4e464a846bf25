/* Chromium, headless, for tests that need a real browser. */

import { existsSync } from "node:fs";

import { type Browser, chromium } from "playwright-core";
import tap from "tap";

const executable = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
const missing = `no Chromium at ${executable}: install it ("apt-get install chromium" on Debian), or name another by CHROMIUM`;

/** Whether there is one. Without, the test file fails in CI, and says elsewhere that it is skipped. */
export function hasChromium(): boolean {
  if (existsSync(executable)) return true;
  if (process.env["CI"] === "true") tap.fail(missing);
  else tap.pass(`skipped: ${missing}`, { skip: missing });
  return false;
}

/** `args` are added to the command line. */
export function launchChromium(args: readonly string[] = []): Promise<Browser> {
  return chromium.launch({
    executablePath: executable,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...args,
    ],
  });
}
