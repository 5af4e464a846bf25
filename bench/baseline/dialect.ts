/* How the baseline's loops are spoken to: a letter says which end of it one is, and is sent back; payloads follow. */

import type { Address, Dialect, Step } from "../load/dialect.ts";

export function createDialect({ address }: { address: Address }): Dialect {
  return {
    address,
    reader: () => ({ steps: [hello("r")] }),
    publisher: () => ({ steps: [hello("p")], publish: ({ payload }) => Buffer.from(payload) }),
  };
}

function hello(letter: string): Step {
  return { send: Buffer.from(letter), until: Buffer.from(letter) };
}
