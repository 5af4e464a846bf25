/* SharedCursorWatch: notices when several sessions resume from one durable cursor.
 *
 * A cursor is one user's, device's and stream's, and the furthest acknowledgement moves it. Two programs under one device name thus
 * mark as dealt with what the other has not finished. That is allowed, since a client that comes back may meet its own connection which
 * has not ended yet; but whoever operates the broker should hear of it.
 *
 * Sees the sessions of its own process. */

import type { CursorKey } from "../state/index.ts";
import { Complaints } from "./complaints.ts";
import type { CursorName } from "./readers.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Warnings of different cursors, so that whoever provokes them does not fill the log. */
const warnings = { perSecond: 0.1, burst: 10 };

/** Hears of a cursor from which so many sessions resume at once. */
export type OnSharedCursor = (name: CursorName, sessions: number) => void;

export class SharedCursorWatch {
  readonly #onShared: OnSharedCursor;
  readonly #held = new Map<CursorKey, number>();
  readonly #complaints = new Complaints();
  readonly #bucket = new TokenBucket(warnings, performance.now());

  constructor(onShared: OnSharedCursor) {
    this.#onShared = onShared;
  }

  /** A subscription resumes from this cursor. */
  enter(key: CursorKey, name: CursorName): void {
    const sessions = (this.#held.get(key) ?? 0) + 1;
    this.#held.set(key, sessions);
    if (sessions === 1 || !this.#complaints.isDue(key)) return;
    if (this.#bucket.take(performance.now()) === 0) this.#onShared(name, sessions);
  }

  /** It ends. */
  leave(key: CursorKey): void {
    const sessions = (this.#held.get(key) ?? 0) - 1;
    if (sessions > 0) this.#held.set(key, sessions);
    else this.#held.delete(key);
  }

  /** Cursors from which somebody resumes at present. */
  get size(): number {
    return this.#held.size;
  }
}
