/* A process that writes a store, as a broker's first process does, and says nothing to anyone but the test that forked it. */

import { type Command, State } from "../../broker/state/index.ts";

const state = await State.open(process.argv[2]!);

/** Each message is a batch of commands; the answer is how many have been applied since the store began. */
process.on("message", (commands: Command[]) => {
  const at = Math.max(Date.now(), state.meta.lastAt);
  const { flushed } = state.commit(commands.map((command) => ({ ...command, at })));
  void flushed.then(() => process.send!(state.applied()));
});
process.on("disconnect", () => {
  void state.close();
});
process.send!(state.applied());
