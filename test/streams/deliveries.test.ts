/* What is kept of deliveries is bounded in bytes, however large posts are and however many numbers they are sent under. */

import tap from "tap";

import type { Entry } from "../../broker/state/index.ts";
import { Deliveries } from "../../broker/streams/deliveries.ts";
import { openStore, post } from "../state/store.ts";
import { Reader } from "./reader.ts";

await tap.test("large posts sent under many numbers make room for each other", async (t) => {
  const store = await openStore(t);
  const text = "x".repeat(16_000);
  const posts = 200;
  await store.apply(Array.from({ length: posts }, () => post("alice", { text })));
  const deliveries = new Deliveries(store.state);
  const { encoder } = new Reader();
  const withBytes = { ...encoder, frame: (body: Buffer) => Buffer.concat([body]) };
  const made = [...store.state.entries(0, posts)].map((entry: Entry) => {
    const delivery = deliveries.of(entry)!;
    for (let sub = 1; sub <= 64; sub++) delivery.frame(withBytes, sub);
    return { entry, delivery };
  });
  const kept = made.filter(({ entry, delivery }) => deliveries.of(entry) === delivery);
  const bytes = kept.reduce((sum, { delivery }) => sum + delivery.bytes, 0);
  t.ok(kept.includes(made.at(-1)!), "the latest is kept");
  t.ok(bytes > 30_000_000 && bytes < 140_000_000, `${bytes} bytes of ${kept.length} deliveries`);
});
