/* Run: frames in a row, shared by all outboxes that hold the same frames in the same order.
 *
 *                 ┌── f1 ◄── f2 ◄── f3      what three quick posts of a whale leave in ten thousand outboxes: each holds f3
 *   beginning ◄───┤
 *                 └── f9 ◄── f7             another outbox
 *
 * An outbox holds the last of its run. Pushing a frame leads to the run that the same push led to before, if the run's
 * last push was the same: sessions that get the same events share the run by themselves, nobody groups them. So a push is a comparison
 * and an assignment, and the bytes of a run are put together once for all who hold it.
 *
 * A run never changes. It is kept by the outboxes that hold it, and the newest of each beginning until another is begun. */

import type { Frame } from "../streams/index.ts";

export class Run {
  /** Frames in it. */
  readonly count: number;
  /** Bytes of its frames, */
  readonly bytes: number;
  /** and of those that are events. */
  readonly eventBytes: number;
  readonly #before: Run | undefined;
  readonly #frame: Frame | undefined;
  #after: Run | undefined;
  #joined: Buffer | undefined;

  private constructor(before?: Run, frame?: Frame) {
    this.#before = before;
    this.#frame = frame;
    const bytes = frame?.bytes.length ?? 0;
    this.count = before === undefined ? 0 : before.count + 1;
    this.bytes = (before?.bytes ?? 0) + bytes;
    this.eventBytes = (before?.eventBytes ?? 0) + (frame !== undefined && frame.sub !== 0 ? bytes : 0);
  }

  /** An empty run. Only runs that began at the same one are shared. */
  static begin(): Run {
    return new Run();
  }

  /** This run with `frame` behind. */
  with(frame: Frame): Run {
    const after = this.#after;
    if (after !== undefined && after.#frame === frame) return after;
    const run = new Run(this, frame);
    if (frame.sub !== 0) this.#after = run; // an answer is no one else's
    return run;
  }

  /** All its bytes in one buffer, which is shared: not to be written into. */
  joined(): Buffer {
    if (this.count === 1) return this.#frame!.bytes;
    if (this.#joined !== undefined) return this.#joined;
    const joined = Buffer.allocUnsafe(this.bytes);
    let end = this.bytes;
    for (const { bytes } of Run.#backwards(this)) {
      end -= bytes.length;
      joined.set(bytes, end);
    }
    return (this.#joined = joined);
  }

  frames(): Frame[] {
    return [...Run.#backwards(this)].toReversed();
  }

  static *#backwards(last: Run): Generator<Frame> {
    for (let run = last; run.#before !== undefined; run = run.#before) yield run.#frame!;
  }
}
