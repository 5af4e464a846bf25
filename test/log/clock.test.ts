/* Clock: what it believes, over the life of a broker and of its machine. */

import tap from "tap";

import { Clock, type ClockSources } from "../../broker/log/clock.ts";
import type { ClockRecord } from "../../broker/state/index.ts";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;
const year = 365 * day;
const start = Date.UTC(2026, 10, 28);

/** A machine whose clock can be set. */
class Machine {
  /** By how much the clock was set. */
  setBy = 0;
  boot = "first";
  #gone = 0;
  #awake = 0;
  #up = 5_000_000;

  get sources(): ClockSources {
    return {
      wall: () => start + this.#gone + this.setBy,
      monotonic: () => this.#awake,
      uptime: () => this.#up,
      boot: this.boot,
    };
  }

  /** The time it really is. */
  get now(): number {
    return start + this.#gone;
  }

  runs(ms: number): void {
    this.#gone += ms;
    this.#awake += ms;
    this.#up += ms;
  }

  /** Switched off and on again after `ms`. */
  restarts(ms: number, boot = "second"): void {
    this.#gone += ms;
    this.#awake = 0;
    this.#up = minute;
    this.boot = boot;
  }

  /** Asleep: uptime goes on. */
  sleeps(ms: number): void {
    this.#gone += ms;
    this.#up += ms;
  }

  /** A virtual machine that does not know of it. */
  isPaused(ms: number): void {
    this.#gone += ms;
  }
}

/** Looks every second or so, as a broker does. */
function runFor(machine: Machine, clock: Clock, ms: number): void {
  for (let gone = 0; gone < ms; gone += 10_000) {
    machine.runs(10_000);
    clock.look();
  }
}

function clockOf(
  machine: Machine,
  {
    lastAt = 0,
    record,
    isAccepted = false,
  }: { lastAt?: number; record?: ClockRecord; isAccepted?: boolean } = {},
): Clock {
  return new Clock({ lastAt: () => lastAt, record, isAccepted, sources: machine.sources });
}

for (const by of [year, 2 * hour, 10 * minute, -10 * minute, -2 * hour, -year]) {
  await tap.test(
    `a clock that jumps by ${by / minute} min is in doubt until it is right again`,
    async (t) => {
      const machine = new Machine();
      const changes: (string | undefined)[] = [];
      const clock = new Clock({
        lastAt: () => 0,
        sources: machine.sources,
        onChange: (doubt) => changes.push(doubt),
      });
      t.equal(clock.stamp(), machine.now);
      runFor(machine, clock, hour);
      machine.setBy = by;
      t.throws(() => clock.stamp(), {
        code: "unavailable",
        retryable: true,
        message: /the clock is .* (ahead|behind)/,
      });
      t.equal(clock.forAges(), undefined);
      runFor(machine, clock, 5 * minute);
      t.match(clock.doubt, /restart once with --accept-clock/);
      machine.setBy = 0;
      t.equal(clock.stamp(), machine.now);
      t.equal(clock.forAges(), machine.now);
      t.equal(changes.length, 2, "said once each");
    },
  );
}

await tap.test(
  "small corrections are followed, and however many there are they carry nothing away",
  async (t) => {
    const machine = new Machine();
    const clock = clockOf(machine);
    clock.stamp();
    for (let i = 0; i < 10; i++) {
      machine.setBy += 4 * minute;
      t.equal(clock.stamp(), machine.now + machine.setBy);
      runFor(machine, clock, 10 * hour);
    }
    t.equal(clock.doubt, undefined, "a few minutes, now and then");
    t.ok(Math.abs(clock.forAges()! - machine.now - machine.setBy) < minute);
    for (let i = 0; i < 3; i++) {
      machine.setBy += 4 * minute;
      clock.look();
    }
    t.type(clock.doubt, "string", "and not one behind the other");
  },
);

await tap.test("sleep is no jump, whatever this process' own clock says of it", async (t) => {
  const machine = new Machine();
  const clock = clockOf(machine);
  clock.stamp();
  machine.sleeps(9 * hour);
  t.equal(clock.stamp(), machine.now);
});

await tap.test(
  "after a pause that the machine knows nothing of, the clock is believed in some minutes",
  async (t) => {
    const machine = new Machine();
    const clock = clockOf(machine);
    clock.stamp();
    machine.isPaused(9 * hour);
    t.throws(() => clock.stamp(), { code: "unavailable" });
    runFor(machine, clock, 14 * minute);
    t.type(clock.doubt, "string");
    runFor(machine, clock, 2 * minute);
    t.equal(clock.stamp(), machine.now);
    t.ok(clock.forAges()! <= machine.now - 8 * hour, "ages wait for longer");
    runFor(machine, clock, 11 * minute);
    t.equal(clock.forAges(), machine.now);
  },
);

await tap.test(
  "a jump of over a day, or to before the newest command, is never believed by itself",
  async (t) => {
    for (const by of [year, 25 * hour, -2 * hour]) {
      const machine = new Machine();
      const clock = clockOf(machine, { lastAt: start });
      clock.stamp();
      machine.setBy = by;
      runFor(machine, clock, hour);
      t.type(clock.doubt, "string", `by ${by / hour} h`);
    }
  },
);

await tap.test("a clock that goes on jumping is never believed", async (t) => {
  const machine = new Machine();
  const clock = clockOf(machine);
  clock.stamp();
  for (let i = 0; i < 60; i++) {
    machine.setBy += 6 * minute;
    runFor(machine, clock, minute);
    t.type(clock.doubt, "string");
  }
});

await tap.test(
  "a broker that starts months later takes posts at once, and removes nothing for some minutes",
  async (t) => {
    const machine = new Machine();
    const lastAt = machine.now;
    machine.restarts(90 * day);
    const clock = clockOf(machine, { lastAt });
    t.equal(clock.stamp(), machine.now);
    t.ok(clock.forAges()! < lastAt + minute);
    runFor(machine, clock, 11 * minute);
    t.equal(clock.forAges(), machine.now);
  },
);

await tap.test(
  "a broker that starts before its newest command is in doubt until the clock is there",
  async (t) => {
    const machine = new Machine();
    const clock = clockOf(machine, { lastAt: machine.now + year });
    t.throws(() => clock.stamp(), { code: "unavailable", message: /365 days behind the newest command/ });
    machine.runs(year);
    t.equal(clock.stamp(), machine.now);
  },
);

await tap.test("one that somebody accepts is believed, and watched from then on", async (t) => {
  const machine = new Machine();
  const lastAt = machine.now;
  const clock = clockOf(machine, { lastAt, isAccepted: true });
  t.equal(clock.stamp(), machine.now);
  machine.setBy = 2 * hour;
  t.throws(() => clock.stamp(), { code: "unavailable" });
});

await tap.test(
  "within one boot of the machine a restart hides no jump; after another boot it is not known",
  async (t) => {
    for (const by of [year, 2 * hour, -2 * hour]) {
      const machine = new Machine();
      const first = clockOf(machine);
      t.equal(first.record(), undefined, "nothing is known of a clock on which nothing depends");
      first.stamp();
      runFor(machine, first, hour);
      const record = first.record()!;
      machine.runs(hour);
      machine.setBy = by;
      const second = clockOf(machine, { record, lastAt: start });
      t.throws(() => second.stamp(), { code: "unavailable" }, `by ${by / hour} h`);
      machine.setBy = 0;
      t.equal(second.stamp(), machine.now);
      t.equal(second.forAges(), machine.now, "and nothing has to wait");
      machine.restarts(hour);
      machine.setBy = Math.abs(by);
      const third = clockOf(machine, { record, lastAt: start });
      t.equal(third.stamp(), machine.now + machine.setBy);
    }
  },
);

await tap.test(
  "a clock that is set while nothing depends on it yet is as one that was set before",
  async (t) => {
    const machine = new Machine();
    machine.setBy = -40 * year; // a machine without a clock of its own
    const clock = clockOf(machine);
    t.throws(() => clock.stamp(), { code: "unavailable", message: /was not set yet/ });
    t.equal(clock.record(), undefined);
    machine.runs(minute);
    machine.setBy = 0;
    t.equal(clock.stamp(), machine.now);

    const late = clockOf(machine, { lastAt: machine.now - 30 * day });
    machine.setBy = 2 * hour;
    t.equal(late.look(), undefined);
    t.ok(late.forAges()! < machine.now - 29 * day, "but removes nothing by what it says");
    runFor(machine, late, 9 * minute);
    machine.setBy = 20 * day;
    runFor(machine, late, 2 * minute);
    t.ok(late.forAges()! < machine.now - 29 * day, "nor soon after it was set again");
  },
);

await tap.test("another clock is believed before what has gone by, whichever way they differ", async (t) => {
  const machine = new Machine();
  machine.setBy = year;
  const clock = clockOf(machine);
  clock.stamp();
  clock.witness(machine.now);
  t.throws(() => clock.stamp(), { code: "unavailable", message: /365 days ahead.*that of NATS/ });
  runFor(machine, clock, hour);
  t.type(clock.doubt, "string", "however long");
  machine.setBy = 0;
  t.equal(clock.stamp(), machine.now);
  machine.isPaused(3 * day);
  t.type(clock.look(), "string");
  clock.witness(machine.now - 500);
  t.equal(clock.stamp(), machine.now, "after a pause NATS says that it is right");
});
