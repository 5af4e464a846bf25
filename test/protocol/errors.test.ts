/* Errors: which are told from which. */

import tap from "tap";

import { WhalesongError } from "../../protocol/index.ts";

class Derived extends WhalesongError {}

await tap.test(
  "an error is of its own class and of those that class derives from, and of no other",
  async (t) => {
    const plain = new WhalesongError("bad_request", "no");
    const derived = new Derived("bad_request", "no");
    t.ok(plain instanceof WhalesongError);
    t.notOk(plain instanceof Derived, "one that derives from it is another");
    t.ok(derived instanceof Derived);
    t.ok(derived instanceof WhalesongError);
    for (const other of [new Error("no"), { code: "bad_request" }, null, "no"])
      t.notOk(other instanceof WhalesongError || other instanceof Derived);
  },
);
