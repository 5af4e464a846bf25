/* Versions: how much of what each node has told of its cursors is known here.
 *
 * A run is one life of one node's process. It numbers its updates 1, 2, 3, …; number 0 stands for all it had on disk when it
 * began. What is had of a run up to a number came by its updates one after the other, or by way of a node that had it.
 *
 *   updates heard   1 2 3 4 . . 7 8          had up to 4; 7 and 8 are heard, and count once 5 and 6 are had by another way
 *
 * Knows no NATS and no clock. */

/** One life of one node's process. */
export type Run = string;

/** For some runs, up to which of their updates. */
export type Numbers = Readonly<Record<Run, number>>;

interface Heard {
  /** All up to here is had; -1: nothing, not even what it began with. */
  had: number;
  /** Those from here to there were heard without a gap. None when `to` is less than `from`. */
  from: number;
  to: number;
  /** When it was heard itself, and when last anyone told of it; in the caller's ms. */
  heardAt: number | undefined;
  toldAt: number;
}

export class Versions {
  readonly #own: Run;
  readonly #runs = new Map<Run, Heard>();

  /** `own` is the run that this is kept in: it lacks nothing of its own. */
  constructor(own: Run) {
    this.#own = own;
  }

  /** An update of `run` was heard, and taken whole. */
  update(run: Run, number: number, now: number): void {
    const heard = this.#heard(run, now);
    heard.heardAt = now;
    if (number === heard.to + 1) heard.to = number;
    else if (number > heard.to) {
      heard.from = number;
      heard.to = number;
    } else return; // heard before
    join(heard);
  }

  /** All that a node says it has was had from it. */
  cover(numbers: Numbers, now: number): void {
    for (const [run, number] of Object.entries(numbers)) {
      if (run === this.#own) continue;
      const heard = this.#heard(run, now);
      heard.had = Math.max(heard.had, number);
      join(heard);
    }
  }

  /** `run` is alive. */
  alive(run: Run, now: number): void {
    this.#heard(run, now).heardAt = now;
  }

  /** Whether something of `numbers` is not had. */
  lacks(numbers: Numbers): boolean {
    return Object.entries(numbers).some(
      ([run, number]) => run !== this.#own && (this.#runs.get(run)?.had ?? -1) < number,
    );
  }

  /** Someone tells of these runs: they are not forgotten yet. */
  keep(numbers: Numbers, now: number): void {
    for (const run of Object.keys(numbers)) {
      const heard = this.#runs.get(run);
      if (heard !== undefined) heard.toldAt = now;
    }
  }

  /** What is had of the runs that were heard themselves since `since`. Of others nobody is told: else the dead would be told of for ever. */
  had(since: number): Record<Run, number> {
    const numbers: Record<Run, number> = {};
    for (const [run, { had, heardAt }] of this.#runs)
      if (had >= 0 && heardAt !== undefined && heardAt >= since) numbers[run] = had;
    return numbers;
  }

  /** Forgets the runs that nobody has told of since `since`. */
  forget(since: number): void {
    for (const [run, { toldAt, heardAt }] of this.#runs)
      if (toldAt < since && (heardAt ?? 0) < since) this.#runs.delete(run);
  }

  #heard(run: Run, now: number): Heard {
    let heard = this.#runs.get(run);
    if (heard === undefined) {
      heard = { had: -1, from: 1, to: 0, heardAt: undefined, toldAt: now };
      this.#runs.set(run, heard);
    }
    heard.toldAt = now;
    return heard;
  }
}

/** What was heard counts as had where it follows on what is. */
function join(heard: Heard): void {
  if (heard.from <= heard.had + 1) heard.had = Math.max(heard.had, heard.to);
}
