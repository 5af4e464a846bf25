/* Outbox: against two plain lists. What outboxes hold alike they hold once. */

import fc from "fast-check";
import tap from "tap";

import { Outbox } from "../../broker/sessions/outbox.ts";
import type { Frame } from "../../broker/streams/index.ts";

let made = 0;

function event(sub: number, bytes: number): Frame {
  made++;
  return { bytes: Buffer.alloc(bytes, made), sub, offset: made, before: made - 1 };
}

function answer(bytes: number): Frame {
  made++;
  return { bytes: Buffer.alloc(bytes, made), sub: 0, offset: 0, before: 0 };
}

function drain(outbox: Outbox): Buffer {
  const taken: Buffer[] = [];
  while (!outbox.isEmpty) taken.push(outbox.take());
  return Buffer.concat(taken);
}

await tap.test("outboxes give what was pushed, in order, however they are taken from and dropped", (t) => {
  // Few frames for many pushes, so that outboxes meet in the same runs and part again.
  const frames = [event(1, 10), event(1, 300), event(2, 70_000), event(2, 1), event(3, 40_000)];
  const step = fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({ do: fc.constant("push" as const), frame: fc.constantFrom(...frames) }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant("answer" as const),
        bytes: fc.integer({ min: 1, max: 90_000 }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("take" as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("drop events" as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant("drop" as const), sub: fc.integer({ min: 1, max: 3 }) }),
    },
  );
  const steps = fc.array(fc.tuple(fc.nat(2), step), { minLength: 10, maxLength: 60 });
  fc.assert(
    fc.property(steps, (taken) => {
      const outboxes = [0, 1, 2].map(() => ({ outbox: new Outbox(5), frames: [] as Frame[] }));
      for (const [which, one] of taken) {
        const each = outboxes[which]!;
        const { outbox } = each;
        if (one.do === "push" || one.do === "answer") {
          const frame = one.do === "push" ? one.frame : answer(one.bytes);
          outbox.push(frame);
          each.frames.push(frame);
        } else if (one.do === "drop") {
          outbox.dropSubscription(one.sub);
          each.frames = each.frames.filter(({ sub }) => sub !== one.sub);
        } else if (one.do === "drop events") {
          const first = new Map<number, number>();
          for (const { sub, before } of each.frames) if (sub !== 0 && !first.has(sub)) first.set(sub, before);
          if (JSON.stringify([...outbox.dropEvents()]) !== JSON.stringify([...first])) return false;
          each.frames = each.frames.filter(({ sub }) => sub === 0);
        } else if (!outbox.isEmpty) {
          const bytes = outbox.take();
          let count = 0;
          let length = 0;
          while (length < bytes.length) length += each.frames[count++]!.bytes.length;
          if (!bytes.equals(Buffer.concat(each.frames.splice(0, count).map((frame) => frame.bytes))))
            return false;
        }
        const sum = (isEvent: boolean): number =>
          each.frames.reduce((all, { sub, bytes }) => all + ((sub !== 0) === isEvent ? bytes.length : 0), 0);
        if (outbox.eventBytes !== sum(true) || outbox.answerBytes !== sum(false)) return false;
      }
      return outboxes.every((each) =>
        drain(each.outbox).equals(Buffer.concat(each.frames.map(({ bytes }) => bytes))),
      );
    }),
    { numRuns: 300 },
  );
  t.end();
});

await tap.test("what many outboxes hold alike is one buffer; an answer between is its outbox's own", (t) => {
  const posts = Array.from({ length: 20 }, () => event(1, 300));
  const outboxes = Array.from({ length: 50 }, () => new Outbox(6));
  for (const post of posts) for (const outbox of outboxes) outbox.push(post);
  const taken = new Set(outboxes.map((outbox) => outbox.take()));
  t.equal(taken.size, 1, "joined once for all");
  for (const post of posts) for (const outbox of outboxes) outbox.push(post);
  outboxes[0]!.push(answer(5));
  outboxes[1]!.push(answer(5));
  const others = new Set(outboxes.map((outbox) => outbox.take()));
  t.equal(others.size, 3);
  t.end();
});

await tap.test(
  "a frame is never copied when it goes alone, and large ones are not joined with others",
  (t) => {
    const outbox = new Outbox(7);
    const [small, large] = [event(1, 300), event(1, 200_000)];
    outbox.push(small);
    t.equal(outbox.take(), small.bytes);
    for (const frame of [small, large, small]) outbox.push(frame);
    t.equal(outbox.take(), small.bytes);
    t.equal(outbox.take(), large.bytes);
    t.equal(outbox.take(), small.bytes);
    t.ok(outbox.isEmpty);
    t.end();
  },
);
