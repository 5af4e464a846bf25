/* SharedCursors: the cursors of a node whose readers come from other nodes.
 *
 * They are kept here, and gossip brings those of the others. What is not known here is asked for, so that a reader who comes
 * before its cursor does is not begun anew. */

import type { CursorKeeper, Cursors } from "../sessions/index.ts";
import type { Cursor, CursorKey, Offset } from "../state/index.ts";
import type { Gossip } from "./gossip.ts";

export class SharedCursors implements Cursors {
  readonly #keeper: CursorKeeper;
  readonly #gossip: Gossip;

  constructor(keeper: CursorKeeper, gossip: Gossip) {
    this.#keeper = keeper;
    this.#gossip = gossip;
  }

  get(key: CursorKey): Cursor | undefined | Promise<Cursor | undefined> {
    const known = this.#keeper.get(key);
    if (known !== undefined && this.#gossip.isCurrent) return known;
    const found = this.#gossip.find(key);
    return found === undefined ? known : found.then(() => this.#keeper.get(key));
  }

  acknowledge(key: CursorKey, offset: Offset, generation: number): void {
    this.#keeper.acknowledge(key, offset, generation);
  }

  begin(key: CursorKey, offset: Offset): void {
    this.#keeper.begin(key, offset);
  }

  seek(key: CursorKey, offset: Offset): void {
    this.#keeper.seek(key, offset);
  }

  flush(): Promise<void> {
    return this.#keeper.flush();
  }
}
