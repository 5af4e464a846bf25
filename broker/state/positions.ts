/* Positions: offsets as the text that clients hold.
 *
 *   cursor, id   EPOCH "-" OFFSET        4m9zk2q7-1042
 *
 * A post's id is the position at which it was published. Offsets go on counting when the epoch changes, so that every
 * offset belongs to one epoch and an id from before the change still names its post; a cursor from before is refused,
 * since what its reader saw after the change point may never have become durable. */

import { WhalesongError } from "../../protocol/index.ts";
import type { Offset } from "./bytes.ts";
import type { Meta } from "./meta.ts";

const position = /^([0-9a-z]{1,32})-(0|[1-9][0-9]{0,14})$/;

export class Positions {
  #epochs: Meta["epochs"];
  #prefix: string;

  constructor(epochs: Meta["epochs"]) {
    this.#epochs = epochs;
    this.#prefix = `${epochs.at(-1)!.name}-`;
  }

  /** The current epoch's name. */
  get epoch(): string {
    return this.#epochs.at(-1)!.name;
  }

  cursor(offset: Offset): string {
    return this.#prefix + offset;
  }

  id(offset: Offset): string {
    const current = this.#epochs.at(-1)!;
    return offset > current.after ? this.#prefix + offset : `${this.#epochOf(offset)}-${offset}`;
  }

  /** The offset of a cursor. @throws `bad_request`, `epoch_mismatch` */
  parseCursor(text: string, field = "cursor"): Offset {
    const parts = position.exec(text);
    if (parts === null) {
      throw new WhalesongError(
        "bad_request",
        `${field}: ${JSON.stringify(text)} is not a cursor of this broker`,
        { field },
      );
    }
    if (parts[1] !== this.epoch) {
      throw new WhalesongError(
        "epoch_mismatch",
        `${field}: the cursor is of the epoch ${parts[1]}, the broker's is ${this.epoch}; start from "earliest" or "live"`,
        { field },
      );
    }
    return Number(parts[2]);
  }

  /** The offset of an id, or undefined when no post can have it. */
  parseId(text: string): Offset | undefined {
    const parts = position.exec(text);
    if (parts === null) return undefined;
    const offset = Number(parts[2]);
    return this.#epochOf(offset) === parts[1] ? offset : undefined;
  }

  #epochOf(offset: Offset): string | undefined {
    return this.#epochs.findLast((epoch) => offset > epoch.after)?.name;
  }
}
