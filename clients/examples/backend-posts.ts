/* A backend that publishes: many posts in flight, safe to repeat.
 *
 *     npx tsx clients/examples/backend-posts.ts [ws://127.0.0.1:5252] [1000]
 *
 * With a token of scope `backend`, `as` names the author of each post. Without authentication a client posts as
 * itself. */

import { connect } from "whalesong/client";

const url = process.argv[2] ?? "ws://127.0.0.1:5252";
const count = Number(process.argv[3] ?? 1_000);
await using backend = await connect(url, { user: "orders" });

// Not awaited one by one: the broker makes one disk write durable for many of them.
const startedAt = performance.now();
const published = await Promise.all(
  Array.from({ length: count }, (_, i) =>
    backend.post(`Order ${i} was shipped #shipping`, { key: `order-${i}-shipped`, data: { order: i } }),
  ),
);
console.log(`${published.length} posts are durable after ${Math.round(performance.now() - startedAt)} ms`);

// A job that ran twice: the same key answers with the same post, and nothing is published.
const again = await backend.post("Order 0 was shipped #shipping", {
  key: "order-0-shipped",
  data: { order: 0 },
});
console.log(`the repeated post is ${again.id === published[0]?.id ? "the first one" : "another one"}`);

const { items } = await backend.read("tag:shipping", { limit: 3 });
for (const item of items) if (item.event === "post") console.log(item.post.text, item.post.data);
