/* A sender over a network that loses, doubles and delays what it is given, and a log that is read as every node reads it. */

import { setTimeout as sleep } from "node:timers/promises";

import tap from "tap";

import { type Batch, decodeBatch } from "../../broker/cluster/batch.ts";
import { Sender } from "../../broker/cluster/sender.ts";
import { type Writers, judge, noted } from "../../broker/cluster/writers.ts";
import type { Command, Outcome } from "../../broker/state/index.ts";
import { WhalesongError } from "../../protocol/index.ts";
import { post } from "../state/store.ts";

const seed = Number(process.env["WHALESONG_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** Numbers from 0 to 1 that follow from the seed (mulberry32). */
function randomOf(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The log and the way to it. What is in the log is applied a moment later, in order. */
class Network {
  /** How likely it is that something goes wrong with one batch. */
  trouble = 0;
  /** What was applied, in order. */
  readonly applied: string[] = [];
  readonly sender: Sender;
  readonly #random: () => number;
  #writers: Writers = {};
  #seq = 0;

  constructor(random: () => number, answerMs: number) {
    this.#random = random;
    this.sender = new Sender({ publish: (bytes) => this.#publish(bytes), answerMs });
  }

  async #publish(bytes: Uint8Array): Promise<void> {
    await sleep(this.#random() * 4);
    if (this.#random() >= this.trouble) {
      this.#store(bytes);
      return;
    }
    const kind = this.#random();
    if (kind < 0.4)
      this.#store(bytes); // and nobody hears of it
    else if (kind < 0.7) setTimeout(() => this.#store(bytes), this.#random() * 400); // held up somewhere
    await sleep(this.#random() * 20);
    throw new Error("no word from the log");
  }

  #store(bytes: Uint8Array): void {
    const seq = ++this.#seq;
    setTimeout(() => this.#read(bytes, seq), 1);
  }

  #read(bytes: Uint8Array, seq: number): void {
    const batch = decodeBatch(bytes);
    const verdict = judge(this.#writers, batch);
    if (verdict !== "counts") {
      this.sender.passedOver(batch, verdict);
      return;
    }
    this.#writers = noted(this.#writers, batch, seq);
    const outcomes = batch.commands.map((command): Outcome => {
      this.applied.push((command as { user: string }).user);
      return { offset: this.applied.length, answer: this.applied.length };
    });
    this.sender.applied(batch, outcomes);
  }

  /** As if this writer had been silent while many others came. */
  forget(): void {
    this.#writers = {};
  }
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
const command = (name: string): Command => ({ op: "user", user: name });

for (let run = 0; run < 8; run++) {
  await tap.test(
    `whatever the network does, a command counts once and in its order (run ${run})`,
    async (t) => {
      t.comment(`WHALESONG_SEED=${seed}`);
      const random = randomOf(seed + run);
      const network = new Network(random, run % 2 === 0 ? 300 : 60_000);
      const { sender } = network;
      const checking = setInterval(() => sender.check(), 20);
      t.teardown(() => clearInterval(checking));
      sender.open();
      const told = new Map<string, Promise<Outcome | WhalesongError>>();
      network.trouble = 0.5;
      for (let i = 0; i < 400; i++) {
        const name = `c${i}`;
        told.set(
          name,
          sender.append(command(name)).catch((error: unknown) => error as WhalesongError),
        );
        if (random() < 0.3) await sleep(random() * 8);
        if (random() < 0.01) {
          sender.hold();
          await sleep(random() * 50);
          sender.open();
        }
      }
      network.trouble = 0;
      await sender.idle();
      await sleep(450); // what was held up on its way has come by now, too

      const { applied } = network;
      t.same([...new Set(applied)], applied, "none counts twice");
      const order = applied.map((name) => Number(name.slice(1)));
      t.same(
        order.toSorted((a, b) => a - b),
        order,
        "they count in the order in which they were appended",
      );
      let answered = 0;
      for (const [name, telling] of told) {
        const outcome = await telling;
        if (outcome instanceof WhalesongError) {
          if (outcome.code !== "unavailable") t.fail(`${name}: ${outcome.code}`);
          continue;
        }
        answered++;
        if (applied[outcome.offset - 1] !== name) t.fail(`${name} was told the outcome of another`);
      }
      if (run % 2 === 1) t.equal(answered, told.size, "all are answered where there is time");
      else t.ok(answered > 0);
    },
  );
}

/** What cannot be packed does not come from clients: it stands for whatever they may find some day. */
const unpackable = (): Command => post("x", { data: { n: 2n ** 70n } });

await tap.test("a command that cannot be packed is refused alone, and its batch goes on", async (t) => {
  const network = new Network(randomOf(seed), 60_000);
  const { sender } = network;
  sender.open();
  const refused = [unpackable(), unpackable()].map((faulty) => sender.append(faulty));
  const told = ["a", "b"].map((name) => sender.append(command(name)));
  const alone = sender.append(unpackable());
  for (const each of [...refused, alone]) await t.rejects(each, /too large to fit/);
  t.same(
    (await Promise.all(told)).map(({ offset }) => offset),
    [1, 2],
  );
  await t.rejects(sender.append(unpackable()), "a whole batch of them");
  await sender.append(command("c"));
  t.same(network.applied, ["a", "b", "c"]);
  t.equal(sender.pending, 0);
});

await tap.test("a writer that was forgotten goes on, and nothing counts twice", async (t) => {
  const network = new Network(randomOf(seed), 60_000);
  network.sender.open();
  await network.sender.append(command("a"));
  await network.sender.append(command("b"));
  network.forget();
  const told = await Promise.all(["c", "d"].map((name) => network.sender.append(command(name))));
  t.same(network.applied, ["a", "b", "c", "d"]);
  t.same(
    told.map(({ offset }) => offset),
    [3, 4],
  );
});

await tap.test("one that overtakes the very first, which then comes after all, is sent again", async (t) => {
  const published: Batch[] = [];
  const sender = new Sender({
    publish: (bytes) => {
      published.push(decodeBatch(bytes));
      return published.length === 1 ? new Promise(() => {}) : Promise.resolve(); // of the first nobody hears
    },
    answerMs: 60_000,
  });
  sender.open();
  const first = sender.append(command("a"));
  await turn();
  const second = sender.append(command("b"));
  await turn();
  const [a, b] = published as [Batch, Batch];
  sender.passedOver(b, judge({}, b));
  sender.applied(a, [{ offset: 1, answer: 1 }]);
  t.match(await first, { offset: 1 });
  while (published.length < 3) await sleep(10);
  t.same(published[2], b);
  sender.applied(b, [{ offset: 2, answer: 2 }]);
  t.match(await second, { offset: 2 });
});

await tap.test("what waits too long is refused with unavailable, sent or not", async (t) => {
  let now = 0;
  const sender = new Sender({
    publish: () => new Promise(() => {}),
    answerMs: 1_000,
    now: () => now,
  });
  const unsent = sender.append(command("a"));
  unsent.catch(() => {});
  now = 999;
  sender.check();
  t.equal(sender.pending, 1);
  now = 1_000;
  sender.check();
  await t.rejects(unsent, { code: "unavailable", message: /nothing was changed/ });

  sender.open();
  const sent = sender.append(command("b"));
  sent.catch(() => {});
  await turn();
  now = 2_000;
  sender.check();
  await t.rejects(sent, { code: "unavailable", message: /may have been stored/ });
  await sender.idle();
});
