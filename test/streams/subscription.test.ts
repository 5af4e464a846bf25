/* Subscription: what is held back leaves in order, and nothing of it after a fall back. */

import tap from "tap";

import { Delivery, Subscription } from "../../broker/streams/index.ts";
import { Reader } from "./reader.ts";

function start(): { reader: Reader; subscription: Subscription; deliver: (offset: number) => void } {
  const reader = new Reader();
  const subscription = new Subscription(1, { kind: "firehose", name: "firehose", filter: {} }, reader, 0);
  const deliver = (offset: number): void =>
    subscription.deliver(new Delivery(offset, { event: "delete", cursor: "", id: "" }));
  return { reader, subscription, deliver };
}

await tap.test("held events leave in order when they are released, and later ones at once", (t) => {
  const { reader, subscription, deliver } = start();
  subscription.hold();
  deliver(1);
  deliver(2);
  t.same(reader.events, []);
  subscription.release();
  deliver(3);
  t.same(reader.events, ["delete 1", "delete 2", "delete 3"]);
  t.equal(subscription.position, 3);
  t.end();
});

await tap.test("a fall back while held events are released keeps the rest for catch-up", (t) => {
  const { reader, subscription, deliver } = start();
  subscription.hold();
  for (const offset of [1, 2, 3, 4]) deliver(offset);
  const send = reader.send.bind(reader);
  reader.send = (frame) => {
    send(frame);
    if (frame.offset === 2) subscription.fallBack(0); // the outbox was full, and dropped all
  };
  subscription.release();
  t.same(reader.events, ["delete 1", "delete 2"]);
  t.equal(subscription.position, 0);
  t.equal(subscription.state, "catching up");
  deliver(1);
  t.same(reader.events.slice(2), ["delete 1"], "nothing is held any more");
  t.end();
});

await tap.test(
  "a fall back goes no further than where the subscription stands, and a closed one stays closed",
  (t) => {
    const { subscription, deliver } = start();
    deliver(3);
    subscription.fallBack(7);
    t.equal(subscription.position, 3);
    subscription.state = "closed";
    subscription.fallBack(0);
    t.equal(subscription.position, 3);
    t.equal(subscription.state, "closed");
    t.end();
  },
);
