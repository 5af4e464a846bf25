/* Clock: the time that commands get, and whether it can be believed.
 *
 * The time of a log does not run backwards, and what is old by it is removed. A clock that is wrong for a moment would so be wrong for good:
 * one command of next year, and all that follow are of next year, too; one look at two hours ahead, and posts that are seconds
 * old are gone. So the wall clock is compared with witnesses that nobody sets:
 *
 *   the machine's uptime      goes on while the machine sleeps; while the broker runs it says what time it should be
 *   a record of an earlier    of the same boot of this machine: says the same to a broker that starts
 *   the newest command        a clock that is behind it is wrong, or was wrong then. One that is ahead is as it should be: the broker was off
 *   another clock             in a cluster that of NATS, which stores what nodes send. It is believed before uptime
 *
 *   unproven ──first command, or some minutes──> proven ──differs by over five minutes──> in doubt ──agrees again──> proven
 *
 * While nothing depends on it yet the clock may still be set: it is judged as at the start. In doubt no command is taken, and nothing
 * is removed. Doubt ends when the clock agrees again, or when an operator says that it is right (`--accept-clock`); and by itself
 * when the clock has jumped by a day at most, not to before the newest command, and has then run steadily for a while, as on a virtual
 * machine that was paused and knows nothing of it. */

import { readFileSync } from "node:fs";
import { uptime } from "node:os";

import { WhalesongError } from "../../protocol/index.ts";
import type { ClockRecord } from "../state/index.ts";

/** How far the clock may be from where it should be, in ms. */
export const mostAstrayMs = 300_000;
/** A clock that has agreed for so long is proven, also without a command, in ms. */
const settleMs = 600_000;
/** A clock that has jumped by this at most is believed after so long, in ms. */
const believableMs = 86_400_000;
const believeMs = 900_000;
/** How much of the time that goes by the clock may be ahead or behind, and be followed: it is corrected now and then. */
const followed = 0.01;
/** How often the machine's uptime is read, in ms; between, this process' own clock is enough. */
const readMs = 1_000;
/** How far the machine's uptime may be from what this process' start says, in ms, and still be the machine's. */
const sameUptimeMs = 60_000;
/** No clock is before this: what is has not been set since its machine was switched on. */
const leastTime = Date.UTC(2025, 0, 1);

export interface ClockSources {
  /** ms since the Unix epoch, as it was set. */
  wall: () => number;
  /** ms that have gone by since whenever. */
  monotonic: () => number;
  /** ms since the machine was started, those in which it slept included. */
  uptime: () => number;
  /** Which start of the machine it is; undefined where that is not known. */
  boot: string | undefined;
}

export interface ClockOptions {
  /** The newest command's time, in ms since the Unix epoch; 0 when there is none. */
  lastAt: () => number;
  /** What an earlier broker of the same folder noted. */
  record?: ClockRecord | undefined;
  /** Somebody says that the clock is right. @default false */
  isAccepted?: boolean;
  /** Hears when it comes to be in doubt, with the reason, and when no longer. */
  onChange?: (doubt: string | undefined) => void;
  /** @default this machine's */
  sources?: ClockSources;
}

/** What the clock should say is `wall`, when `elapsed` of the machine's uptime has gone by. */
interface Anchor {
  wall: number;
  elapsed: number;
}

export class Clock {
  readonly #options: ClockOptions;
  readonly #sources: ClockSources;
  #anchor: Anchor;
  #isProven: boolean;
  /** It was compared with another clock, which is believed before the anchor. */
  #isWitnessed = false;
  /** By how much it is astray, and since when by just as much. */
  #astray: { by: number; since: number } | undefined;
  /** From where ages count until the clock has agreed for some minutes, and since when it has. */
  #ages: Anchor;
  #soundSince: number;
  #isSettled: boolean;
  #doubt: string | undefined;
  #wall = 0;
  #uptime = 0;
  #readAt = -Infinity;

  constructor(options: ClockOptions) {
    const { record, lastAt, isAccepted = false, sources = machine } = options;
    this.#options = options;
    this.#sources = sources;
    const here = { wall: sources.wall(), elapsed: this.#elapsed() };
    const known =
      record !== undefined && isOfThisBoot(record, sources.boot, here.elapsed) ? record : undefined;
    this.#anchor = known === undefined || isAccepted ? here : { wall: known.wall, elapsed: known.uptime };
    this.#isProven = isAccepted || known !== undefined;
    this.#isSettled = isAccepted;
    this.#ages = known === undefined && lastAt() > 0 ? { ...here, wall: lastAt() } : this.#anchor;
    this.#soundSince = here.elapsed;
    this.look();
  }

  /** Compares it now. Why it is in doubt; undefined when it can be believed. Cheap: it is called for each batch. */
  look(): string | undefined {
    const before = this.#doubt;
    this.#wall = this.#sources.wall();
    this.#doubt = this.#isProven ? this.#compare() : this.#judgeStart();
    const elapsed = this.#elapsed();
    if (this.#doubt !== undefined) this.#soundSince = elapsed;
    else if (elapsed - this.#soundSince >= settleMs) this.#isProven = this.#isSettled = true;
    if ((before === undefined) !== (this.#doubt === undefined)) this.#options.onChange?.(this.#doubt);
    return this.#doubt;
  }

  /** As `look` has found it. */
  get doubt(): string | undefined {
    return this.#doubt;
  }

  /** The time for commands, in ms since the Unix epoch. @throws WhalesongError `unavailable` when it is in doubt */
  stamp(): number {
    const doubt = this.look();
    if (doubt !== undefined) throw new WhalesongError("unavailable", doubt);
    this.#isProven = true;
    return this.#wall;
  }

  /** The time that ages count to: what the clock says, and not more than has gone by for sure. Undefined while it is in doubt. */
  forAges(): number | undefined {
    if (this.look() !== undefined) return undefined;
    return Math.min(this.#wall, this.#expected(this.#isSettled ? this.#anchor : this.#ages));
  }

  /** Another clock said this a moment ago, in ms since the Unix epoch. */
  witness(time: number): void {
    this.#anchor = { wall: time, elapsed: this.#elapsed() };
    this.#isProven = this.#isSettled = this.#isWitnessed = true;
    this.look();
  }

  /** What a broker that starts later, in the same boot, is to compare its clock with; undefined when that is not known. */
  record(): ClockRecord | undefined {
    const { boot } = this.#sources;
    if (boot === undefined || !this.#isProven || this.#doubt !== undefined) return undefined;
    return { boot, wall: this.#anchor.wall, uptime: this.#anchor.elapsed };
  }

  /** Of a clock on which nothing depends yet. */
  #judgeStart(): string | undefined {
    const elapsed = this.#elapsed();
    if (Math.abs(this.#wall - this.#expected(this.#anchor, elapsed)) > mostAstrayMs)
      this.#soundSince = elapsed;
    this.#anchor = { wall: this.#wall, elapsed };
    const newest = this.#options.lastAt();
    if (this.#wall < newest - mostAstrayMs) return this.#behind(newest);
    if (this.#wall < leastTime)
      return `the clock says ${textOf(this.#wall)}, and was not set yet: writes are refused until it is`;
    return undefined;
  }

  #compare(): string | undefined {
    const off = this.#off();
    if (off !== undefined) return this.#strays(off);
    this.#astray = undefined;
    const newest = this.#options.lastAt();
    // Of a cluster the log's time is not this clock's alone: it heals by itself (cluster/times.ts).
    if (!this.#isWitnessed && this.#wall < newest - mostAstrayMs) return this.#behind(newest);
    return undefined;
  }

  /** By how much it is astray. While it is not, small corrections of it are followed. */
  #off(): number | undefined {
    let elapsed = this.#elapsed();
    let off = this.#wall - this.#expected(this.#anchor, elapsed);
    if (Math.abs(off) > mostAstrayMs) {
      elapsed = this.#elapsed(true); // the machine may have slept since
      off = this.#wall - this.#expected(this.#anchor, elapsed);
      if (Math.abs(off) > mostAstrayMs) return off;
    }
    const gone = elapsed - this.#anchor.elapsed;
    const most = Math.max(0, gone * followed);
    this.#anchor = {
      wall: this.#expected(this.#anchor, elapsed) + Math.min(most, Math.max(-most, off)),
      elapsed,
    };
    return undefined;
  }

  /** Believes it after a while, where that can do little harm; else says what is wrong. */
  #strays(off: number): string | undefined {
    const elapsed = this.#elapsed();
    if (this.#astray === undefined || Math.abs(off - this.#astray.by) > mostAstrayMs)
      this.#astray = { by: off, since: elapsed };
    const isSteady = elapsed - this.#astray.since >= believeMs;
    const isSmall = Math.abs(off) <= believableMs && this.#wall >= this.#options.lastAt() - mostAstrayMs;
    if (isSteady && isSmall && !this.#isWitnessed) {
      this.#ages = { wall: this.#expected(this.#anchor, elapsed), elapsed };
      this.#isSettled = false;
      this.#anchor = { wall: this.#wall, elapsed };
      this.#astray = undefined;
      return undefined;
    }
    const should = textOf(this.#expected(this.#anchor, elapsed));
    const says = `the clock is ${lengthOf(off)} ${off > 0 ? "ahead" : "behind"}: it says ${textOf(this.#wall)}`;
    if (this.#isWitnessed)
      return `${says}, that of NATS ${should}. Writes are refused until whichever is wrong is put right`;
    return `${says}, but counted on from what it said before it should be ${should}. Writes are refused until it is right; if it is right now, and was wrong before, restart once with --accept-clock`;
  }

  #behind(newest: number): string {
    return (
      `the clock is ${lengthOf(newest - this.#wall)} behind the newest command: it says ${textOf(this.#wall)}, the command is of ${textOf(newest)}. ` +
      "Writes are refused until it is put right; if it is right, restart once with --accept-clock"
    );
  }

  #expected({ wall, elapsed }: Anchor, now = this.#elapsed()): number {
    return wall + now - elapsed;
  }

  /** The machine's uptime, to the ms. */
  #elapsed(isFresh = false): number {
    const monotonic = this.#sources.monotonic();
    if (isFresh || !(Math.abs(monotonic - this.#readAt) < readMs)) {
      this.#uptime = this.#sources.uptime();
      this.#readAt = monotonic;
    }
    return this.#uptime + monotonic - this.#readAt;
  }
}

function isOfThisBoot(
  { boot, uptime: then }: ClockRecord,
  present: string | undefined,
  elapsed: number,
): boolean {
  return boot === present && then <= elapsed;
}

function textOf(time: number): string {
  return new Date(time).toISOString();
}

function lengthOf(ms: number): string {
  const minutes = Math.round(Math.abs(ms) / 60_000);
  if (minutes < 120) return `${minutes} min`;
  return minutes < 2_880 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1_440)} days`;
}

/** This machine. */
const machine: ClockSources = {
  wall: () => Date.now(),
  monotonic: () => performance.now(),
  uptime: () => uptime() * 1_000,
  boot: bootOf(),
};

/** The kernel's name of this boot. In a container that shows an uptime of its own the two do not belong together, and there is none. */
function bootOf(): string | undefined {
  try {
    const stat = readFileSync("/proc/self/stat", "latin1");
    const ticks = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
    const fromStart = ticks * 10 + process.uptime() * 1_000;
    if (!(Math.abs(uptime() * 1_000 - fromStart) <= sameUptimeMs)) return undefined;
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  } catch {
    return undefined;
  }
}
