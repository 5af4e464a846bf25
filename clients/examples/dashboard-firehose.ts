/* A dashboard of everything public: who posts most, and how much in a second.
 *
 *     npx tsx clients/examples/dashboard-firehose.ts [ws://127.0.0.1:5252] [seconds]
 *
 * Stops after `seconds`, or on Ctrl-C. A dashboard wants what happens now, so it begins `live` and acknowledges
 * nothing. */

import { connect } from "whalesong/client";

const url = process.argv[2] ?? "ws://127.0.0.1:5252";
const seconds = Number(process.argv[3] ?? Infinity);
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

const dashboard = await connect(url, { user: "dashboard", signal: stop.signal });
const firehose = dashboard.stream("firehose", { from: "live", ack: "manual" });
await firehose.opened;
console.log("watching");

const posts = new Map<string, number>();
let sinceTick = 0;
let ticks = 0;
const timer = setInterval(() => {
  const [top, most] = [...posts].sort(([, a], [, b]) => b - a)[0] ?? ["nobody", 0];
  console.log(`${sinceTick} posts/s; most by ${top} (${most})`);
  sinceTick = 0;
  if (++ticks >= seconds) stop.abort();
}, 1_000);

for await (const event of firehose) {
  if (event.event !== "post") continue;
  sinceTick++;
  posts.set(event.post.author, (posts.get(event.post.author) ?? 0) + 1);
}
clearInterval(timer);
