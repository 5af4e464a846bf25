/* The cookbook, run as its readers run it: each example as a process of its own, against the real broker. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

import tap, { type Test } from "tap";

import { Broker } from "../../broker/broker.ts";
import { connect } from "../../clients/node/index.ts";
import { workers } from "../workers/count.ts";
import { nextEvent } from "./session.ts";

const examples = fileURLToPath(new URL("../../clients/examples/", import.meta.url));

/** One example as a process; its output by the line. */
class Run {
  readonly child: ChildProcess;
  readonly exit: Promise<number | null>;
  readonly lines: string[] = [];
  errors = "";
  #wanted: (() => void) | undefined;

  constructor(t: Test, example: string, ...args: string[]) {
    this.child = spawn(process.execPath, ["--import=tsx", examples + example, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    t.teardown(() => this.child.kill("SIGKILL"));
    this.child.stderr?.on("data", (text) => (this.errors += String(text)));
    createInterface({ input: this.child.stdout! }).on("line", (line) => {
      this.lines.push(line);
      this.#wanted?.();
    });
    this.exit = once(this.child, "close").then(([code]) => code as number | null);
  }

  /** Resolves when a line matches; rejects when the example ends before. */
  async line(pattern: RegExp): Promise<void> {
    let ended = false;
    const exit = this.exit.then(() => (ended = true));
    while (!this.lines.some((line) => pattern.test(line))) {
      if (ended)
        throw new Error(`it ended without ${String(pattern)}:\n${this.lines.join("\n")}\n${this.errors}`);
      await Promise.race([exit, new Promise<void>((resolve) => (this.#wanted = resolve))]);
    }
  }
}

await tap.test("follow-and-read.ts", async (t) => {
  const run = new Run(t, "follow-and-read.ts", await start(t));
  t.equal(await run.exit, 0, run.errors);
  t.match(run.lines, [
    "live: bob: Hello, @alice!",
    "live: bob: Whales sing in #F-sharp.",
    "page: bob: Hello, @alice!",
    "page: bob: Whales sing in #F-sharp.",
    /alice and bob:.*following: true/,
  ]);
});

await tap.test("resume.ts", async (t) => {
  const run = new Run(t, "resume.ts", await start(t));
  t.equal(await run.exit, 0, run.errors);
  t.same(run.lines, ["one", "two", "(alice is away)", "three", "four"]);
});

await tap.test("backend-posts.ts", async (t) => {
  const run = new Run(t, "backend-posts.ts", await start(t), "200");
  t.equal(await run.exit, 0, run.errors);
  t.match(run.lines, [
    /^200 posts are durable after \d+ ms$/,
    "the repeated post is the first one",
    /Order 197 .*order: 197/,
    /Order 198 .*order: 198/,
    /Order 199 .*order: 199/,
  ]);
});

await tap.test("dashboard-firehose.ts", async (t) => {
  const url = await start(t);
  const run = new Run(t, "dashboard-firehose.ts", url);
  await run.line(/^watching$/);
  const bob = await connect(url, { user: "bob" });
  await Promise.all([bob.post("a"), bob.post("b")]);
  await bob.close();
  await run.line(/most by bob \(2\)$/);
  run.child.kill("SIGINT");
  t.equal(await run.exit, 0, run.errors);
});

await tap.test("reply-bot.ts", async (t) => {
  const url = await start(t);
  const run = new Run(t, "reply-bot.ts", url);
  await run.line(/^listening/);
  const alice = await connect(url, { user: "alice" });
  const mentions = alice.stream("mentions", { from: "live" });
  await mentions.opened;
  const { id } = await alice.post("hello @echo");
  for (;;) {
    const event = await nextEvent(mentions);
    if (event.event !== "post") continue;
    t.match(event.post, { author: "echo", text: "@alice you said: hello", replyTo: id });
    break;
  }
  await alice.close();
  await run.line(/^answered alice$/);
  run.child.kill("SIGINT");
  t.equal(await run.exit, 0, run.errors);
});

async function start(t: Test): Promise<string> {
  const data = await mkdtemp(join(tmpdir(), "whalesong-examples-"));
  const broker = await Broker.start({ port: 0, data, logLevel: "error", drainMs: 0, workers });
  t.teardown(async () => {
    await broker.stop();
    await rm(data, { recursive: true, force: true });
  });
  return broker.url;
}
