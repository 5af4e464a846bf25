/* Own files: whether the files that a broker has open are still those at its path.
 *
 * Who removes, replaces or renames the folder of a running broker, or a file of it, leaves the broker with files that nobody will find
 * again: what it writes there is gone with it. LMDB notices nothing of that. So it is looked whether the path still leads to what was
 * opened; while it does not, nothing may be written. A file's number is not given to another while it is open. */

import { type BigIntStats, statSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";

import { lockFile, readersFile, storeFile } from "./folder.ts";

/** For how long what was seen is believed, in ms: each look is four calls of the system. */
const believedMs = 100;

interface Own {
  name: string;
  path: string;
  identity: string | undefined;
}

export class OwnFiles {
  readonly #own: readonly Own[];
  #trouble: string | undefined;
  #lookedAt = -Infinity;

  /** Of the folder `path`, whose lock is held and whose store is open. */
  constructor(path: string) {
    const names = [".", storeFile, readersFile, lockFile];
    this.#own = names.map((name) => ({
      name,
      path: join(path, name),
      identity: identityOf(join(path, name)),
    }));
  }

  /** What is wrong with them; undefined while they are those at the path. */
  get trouble(): string | undefined {
    const now = performance.now();
    if (now - this.#lookedAt < believedMs) return this.#trouble;
    this.#lookedAt = now;
    return this.look();
  }

  /** The same, as of now. */
  look(): string | undefined {
    this.#trouble = this.#find();
    return this.#trouble;
  }

  #find(): string | undefined {
    for (const { name, path, identity } of this.#own) {
      const found = identityOf(path);
      if (found === identity) continue;
      const what = name === "." ? "the data folder itself" : `${name} in the data folder`;
      // Clients are told it, too: not where the folder is.
      return (
        `its files are not those at its path: ${what} ${found === undefined ? "is gone" : "is another"} since this broker opened it. ` +
        (name === lockFile || name === readersFile
          ? "Nothing is written until it is put back, or the broker is started again"
          : "Nothing is written until it is put back. Do not stop this broker before: it may have the only copy open")
      );
    }
    return undefined;
  }
}

/** Undefined when there is nothing, or it cannot be told. */
function identityOf(path: string): string | undefined {
  let found: BigIntStats | undefined;
  try {
    found = statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined;
  }
  return found && `${found.dev}:${found.ino}`;
}
