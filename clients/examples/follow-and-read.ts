/* Follow someone, read what they say as they say it, then page back through it.
 *
 *     npx tsx clients/examples/follow-and-read.ts [ws://127.0.0.1:5252] */

import { connect } from "whalesong/client";

const url = process.argv[2] ?? "ws://127.0.0.1:5252";
await using alice = await connect(url, { user: "alice", device: "example" });
await using bob = await connect(url, { user: "bob" });

await alice.follow("bob");
const home = alice.stream("home", { from: "live" });
await home.opened; // what is published from now on arrives

await bob.post("Hello, @alice!");
await bob.post("Whales sing in #F-sharp.");

let seen = 0;
for await (const event of home) {
  if (event.event !== "post") continue; // there are also repost, delete, live and cursor
  console.log(`live: ${event.post.author}: ${event.post.text}`);
  if (++seen === 2) break; // unsubscribes
}

const page = await alice.read("home", { limit: 10 });
for (const item of page.items) {
  if (item.event === "post") console.log(`page: ${item.post.author}: ${item.post.text}`);
}
console.log("alice and bob:", await alice.relationship("bob"));
