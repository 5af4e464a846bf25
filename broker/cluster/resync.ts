/* Resync: fetches the cursors of a peer that has what was not heard here, page by page, one peer at a time.
 *
 * A node that joins has heard nothing, one that was cut off has missed some, and gossip can get lost: it is all the same here.
 * One peer that has heard the others covers them all. */

import type { CursorKey } from "../state/index.ts";
import type { CursorRow, GossipBody } from "./gossip-messages.ts";
import type { Peers } from "./peers.ts";
import type { Numbers, Run, Versions } from "./versions.ts";

/** Left to others between two pages, in ms. */
const gapMs = 5;

/** One page of a peer's cursors. */
type Rows = Extract<GossipBody, { kind: "rows" }>;

export interface ResyncOptions {
  peers: Peers;
  versions: Versions;
  /** Asks `run` for its cursors after one. Rejects when it does not answer, or cannot. */
  page: (run: Run, after: CursorKey | null) => Promise<Rows>;
  /** False: too much waits to be written. */
  merge: (rows: CursorRow[]) => boolean;
  /** Settles once all that was merged is on disk. */
  flush: () => Promise<void>;
  onDone: (node: string, cursors: number) => void;
  onFailure: (node: string, error: unknown) => void;
}

export class Resync {
  readonly #options: ResyncOptions;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: ResyncOptions) {
    this.#options = options;
  }

  /** Some peer is known to have what is not had here. */
  get isBehind(): boolean {
    const { peers, versions } = this.#options;
    return this.#running !== undefined || peers.ahead(versions, new Set()) !== undefined;
  }

  /** Fetches what is missing, if anything is. Called whenever a peer has said what it has. */
  check(): void {
    if (this.#isClosed) return;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Settles once nothing more is fetched. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    const { peers, versions, onFailure } = this.#options;
    const failed = new Set<Run>();
    for (;;) {
      const peer = peers.ahead(versions, failed);
      if (peer === undefined || this.#isClosed) return;
      try {
        await this.#fetch(peer);
      } catch (error) {
        failed.add(peer.run); // until it, or another, says again what it has
        if (!this.#isClosed) onFailure(peer.node, error);
      }
    }
  }

  async #fetch({ run, node, have }: { run: Run; node: string; have: Numbers }): Promise<void> {
    const { versions, page, merge, flush, onDone } = this.#options;
    let covered: Numbers = {};
    let count = 0;
    let after: CursorKey | null = null;
    do {
      const rows: Rows = await page(run, after);
      if (!merge(rows.cursors)) throw new Error("too many cursors wait to be written");
      await flush(); // so that a page is asked for as fast as the disk takes them
      await new Promise((resolve) => setTimeout(resolve, gapMs)); // and clients of both nodes come first
      covered = rows.have ?? covered;
      count += rows.cursors.length;
      after = rows.next;
      if (this.#isClosed) throw new Error("this node stops");
    } while (after !== null);
    const now = performance.now();
    versions.cover(covered, now);
    versions.cover(have, now);
    onDone(node, count);
  }
}
