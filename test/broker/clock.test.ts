/* The clock of a real broker, set while it runs and while it does not: no post gets a time that is not, nothing young is removed, and there is
 * a way out. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import tap, { type Test } from "tap";

import { connect } from "../../clients/node/index.ts";
import { WhalesongError, type ErrorBody } from "../../protocol/index.ts";
import { BrokerProcess } from "../crash/broker-process.ts";
import { MovedClock } from "../moved-clock.ts";
import { budget } from "../pace.ts";

const hour = 3_600;
const year = 365 * 24 * hour;
/** More than clocks differ by, and less than what is in doubt, in ms. */
const near = 120_000;

const missing = MovedClock.missing();
const skip = missing !== undefined && process.env["CI"] !== "true" && missing;

tap.setTimeout(budget(240_000));

class Rig {
  readonly clock: MovedClock;
  readonly #folder: string;
  #broker: BrokerProcess | undefined;

  static async for(t: Test): Promise<Rig> {
    const folder = await mkdtemp(join(tmpdir(), "whalesong-"));
    const rig = new Rig(folder, await MovedClock.for(t));
    t.teardown(async () => {
      await rig.#broker?.kill();
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    });
    return rig;
  }

  private constructor(folder: string, clock: MovedClock) {
    this.#folder = folder;
    this.clock = clock;
  }

  get url(): string {
    return this.#broker!.url;
  }

  async start(...flags: string[]): Promise<void> {
    const place = ["--data", this.#folder, "--port", "0", "--log-level", "silent"];
    this.#broker = await BrokerProcess.launch([...place, ...flags], { by: this.clock.by });
  }

  async stop(): Promise<void> {
    await this.#broker!.stop();
  }

  async kill(): Promise<void> {
    await this.#broker!.kill();
  }

  /** @throws WhalesongError */
  async post(text: string): Promise<void> {
    const answer = await fetch(`${this.url}/v1/posts?user=alice`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text }),
    });
    const { error } = (await answer.json()) as { error?: ErrorBody };
    if (error !== undefined) throw WhalesongError.fromBody(error);
  }

  /** All posts there are, the oldest first, with their times. */
  async posts(): Promise<[text: string, at: number][]> {
    const answer = await fetch(`${this.url}/v1/users/alice/posts?user=alice&limit=100`);
    const { items } = (await answer.json()) as { items: { post: { text: string; at: number } }[] };
    return items.map(({ post }): [string, number] => [post.text, post.at]).toSorted(([, a], [, b]) => a - b);
  }

  /** Settles once `/readyz` has this status, with what it says. */
  async until(status: number): Promise<string> {
    for (;;) {
      const answer = await fetch(`${this.url}/readyz`);
      const text = await answer.text();
      if (answer.status === status) return text;
      await sleep(50);
    }
  }
}

function texts(posts: [string, number][]): string[] {
  return posts.map(([text]) => text);
}

await tap.test(
  "a clock that jumps while the broker runs: nothing is written until it is right again",
  { skip },
  async (t) => {
    const rig = await Rig.for(t);
    await rig.start();
    await rig.post("before");
    const me = await connect(rig.url, { user: "bob" });
    t.teardown(() => me.close());
    for (const by of [year, -year, 10 * 60]) {
      await rig.clock.set(by);
      t.match(await rig.until(503), /the clock is .*(ahead|behind)/);
      const refusal = { code: "unavailable", retryable: true, message: /the clock is .*(ahead|behind)/ };
      await t.rejects(rig.post("meanwhile"), refusal, `${by} s`);
      await t.rejects(me.follow("alice"), refusal, "whatever it is, whichever way it comes");
      t.same(texts(await rig.posts()), ["before"], "reading goes on");
      await rig.clock.set(0);
      await rig.until(200);
    }
    await rig.post("after");
    await me.follow("alice");
    await rig.stop();
    await rig.start();
    await rig.post("and after a restart");
    const posts = await rig.posts();
    t.same(texts(posts), ["before", "after", "and after a restart"]);
    for (const [text, at] of posts)
      t.ok(Math.abs(at - Date.now()) < near, `${text}: ${new Date(at).toISOString()}`);
  },
);

await tap.test(
  "what is young is not removed for its age, whatever the clock says for a while",
  { skip },
  async (t) => {
    const rig = await Rig.for(t);
    const retain = ["--retain-age", "1h"];
    await rig.start(...retain);
    await rig.post("young");
    await rig.clock.set(2 * hour);
    await rig.until(503);
    await sleep(3_000); // it looks what is due every second: three times
    await rig.clock.set(0);
    await rig.until(200);
    t.same(texts(await rig.posts()), ["young"], "while it ran");

    await rig.stop();
    await rig.clock.set(2 * hour);
    await rig.start(...retain);
    t.match(await rig.until(503), /the clock is 2 h ahead/);
    await sleep(3_000);
    t.same(texts(await rig.posts()), ["young"], "before it started");
    await rig.kill();
    await rig.clock.set(0);
    await rig.start(...retain);
    await rig.post("younger");
    t.same(texts(await rig.posts()), ["young", "younger"]);
  },
);

await tap.test(
  "a clock that was wrong when all began: somebody says that it is right now",
  { skip },
  async (t) => {
    const rig = await Rig.for(t);
    await rig.clock.set(year);
    await rig.start();
    await rig.post("of next year");
    for (const end of ["stop", "kill"] as const) {
      await rig[end]();
      await rig.clock.set(0);
      await rig.start();
      t.match(await rig.until(503), /the clock is 365 days behind.*--accept-clock/);
      await t.rejects(rig.post("too early"), { code: "unavailable" });
    }
    await rig.stop();
    await rig.start("--accept-clock");
    await rig.until(200);
    await rig.post("of now");
    await rig.stop();
    await rig.start();
    await rig.until(200);
    await rig.post("of a little later");
    const [now, later, wrong] = await rig.posts();
    t.equal(wrong![0], "of next year");
    for (const [text, at] of [now!, later!])
      t.ok(Math.abs(at - Date.now()) < near, `${text}: ${new Date(at).toISOString()}`);
  },
);
