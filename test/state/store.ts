/* Store: a State in a folder of its own, and commands applied to it by hand. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Test } from "tap";

import { type Command, type Outcome, State } from "../../broker/state/index.ts";

export interface Store {
  readonly folder: string;
  state: State;
  /** Applies the commands in one transaction, at `at`, and waits until they are on disk. */
  apply(commands: Command[], at?: number): Promise<Outcome[]>;
  /** Applies one, which must not be refused. Returns what happened. */
  one(command: Command, at?: number): Promise<Outcome>;
  reopen(): Promise<void>;
}

export async function openStore(t: Test): Promise<Store> {
  const folder = await mkdtemp(join(tmpdir(), "whalesong-"));
  const store: Store = {
    folder,
    state: await State.open(folder),
    async apply(commands, at = store.state.meta.lastAt) {
      const { outcomes, flushed } = store.state.commit(commands.map((command) => ({ ...command, at })));
      const results = await outcomes;
      await flushed;
      return results;
    },
    async one(command, at) {
      const [outcome] = await store.apply([command], at);
      if (outcome!.error !== undefined) throw outcome!.error;
      return outcome!;
    },
    async reopen() {
      await store.state.close();
      store.state = await State.open(folder);
    },
  };
  t.teardown(async () => {
    await store.state.close();
    await rm(folder, { recursive: true });
  });
  return store;
}

/** A post's command; the text says nothing of its mentions and tags, which are listed. */
export function post(user: string, fields: Partial<Extract<Command, { op: "post" }>> = {}): Command {
  return { op: "post", user, text: "a post", mentions: [], tags: [], ...fields };
}
