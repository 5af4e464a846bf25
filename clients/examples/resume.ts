/* Go away, come back, and get what was missed: once.
 *
 *     npx tsx clients/examples/resume.ts [ws://127.0.0.1:5252]
 *
 * The broker keeps a cursor for each user, device and stream. A `resume` (the default) begins after the last event
 * this device acknowledged, which the loop does by asking for the next one. */

import { connect, type Stream } from "whalesong/client";

const url = process.argv[2] ?? "ws://127.0.0.1:5252";
const laptop = { user: "alice", device: "laptop" };
await using bob = await connect(url, { user: "bob" });

{
  await using alice = await connect(url, laptop);
  await alice.follow("bob");
  const home = alice.stream("home");
  await home.opened; // a device's first resume fixes its cursor there: nothing that follows can be missed
  await bob.post("one");
  await bob.post("two");
  await readUntil(home, "two");
}

console.log("(alice is away)");
await bob.post("three");
await bob.post("four");

{
  await using alice = await connect(url, laptop);
  await readUntil(alice.stream("home"), "four");
}

async function readUntil(home: Stream, last: string): Promise<void> {
  for await (const event of home) {
    if (event.event !== "post") continue;
    console.log(event.post.text);
    if (event.post.text !== last) continue;
    home.ack(); // leaving the loop acknowledges nothing more: say that this one is done too
    break;
  }
}
