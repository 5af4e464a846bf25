/* Positions: offsets as the text that clients hold.
 *
 *   cursor, id   EPOCH "-" OFFSET        4m9zk2q7-1042
 *
 * A post's id is the position at which it was published. Offsets go on counting when the epoch changes, so that every
 * offset belongs to one epoch and an id from before the change still names its post; a cursor from before is refused,
 * since what its reader saw after the change point may never have become durable. */

import { WhalesongError } from "../../protocol/index.ts";
import { type Offset, maxOffset } from "./bytes.ts";
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
    const parts = partsOf(text);
    if (parts === undefined) {
      throw new WhalesongError(
        "bad_request",
        `${field}: ${JSON.stringify(text)} is not a cursor of this broker`,
        { field },
      );
    }
    if (parts.epoch !== this.epoch) {
      throw new WhalesongError(
        "epoch_mismatch",
        `${field}: the cursor is of the epoch ${parts.epoch}, the broker's is ${this.epoch}; start from "earliest" or "live"`,
        { field },
      );
    }
    return parts.offset;
  }

  /** The offset of an id, or undefined when no post can have it. */
  parseId(text: string): Offset | undefined {
    const parts = partsOf(text);
    return parts !== undefined && this.#epochOf(parts.offset) === parts.epoch ? parts.offset : undefined;
  }

  #epochOf(offset: Offset): string | undefined {
    return this.#epochs.findLast((epoch) => offset > epoch.after)?.name;
  }
}

/** A position taken apart; undefined when it is none, or of an offset that no key of the store can hold. */
function partsOf(text: string): { epoch: string; offset: Offset } | undefined {
  const parts = position.exec(text);
  if (parts === null) return undefined;
  const offset = Number(parts[2]);
  return offset <= maxOffset ? { epoch: parts[1]!, offset } : undefined;
}
