/* What the tests of faults call a missed event, and what not: the judge is judged. */

import tap from "tap";

import type { StreamItem } from "../../clients/node/index.ts";
import { type WhatWasRead, faultsOfReading } from "./reading.ts";

const [one, two, three, four] = [post(1), post(2), post(3), post(4)];
const deleted: StreamItem = { event: "delete", cursor: "e-5", id: "e-2" };

void tap.test("all of it, from where the reader began, is right", (t) => {
  t.same(faultsOfReading(read([two, three]), [two, three]), []);
  t.same(faultsOfReading({ ...read([three]), start: "e-2" }, [one, two, three]), []);
  t.end();
});

void tap.test("one that is not there is missed, wherever it is", (t) => {
  for (const missing of [one, two, three]) {
    const seen = [one, two, three].filter((event) => event !== missing);
    t.match(faultsOfReading(read(seen), [one, two, three]), [/^someone: missed post/]);
  }
  t.end();
});

void tap.test("one that is another now, or not there now, was wrong", (t) => {
  const other = post(2, "another text");
  t.match(faultsOfReading(read([one, other]), [one, two]), [/saw .*another text/]);
  t.match(faultsOfReading(read([one, two, three]), [one, three]), [/saw post e-2 at e-2, which is not/]);
  t.end();
});

void tap.test("a post that was deleted later may have been seen, and its delete must", (t) => {
  t.same(faultsOfReading(read([one, two, four, deleted]), [one, four, deleted]), []);
  t.same(faultsOfReading(read([one, four, deleted]), [one, four, deleted]), []);
  t.match(faultsOfReading(read([one, two, four]), [one, four, deleted]), [/missed delete e-2/]);
  t.end();
});

void tap.test("what came out of order or twice stays a fault", (t) => {
  t.match(faultsOfReading({ ...read([one]), faults: ["1 came after 1"] }, [one]), [/1 came after 1/]);
  t.end();
});

function read(events: StreamItem[]): WhatWasRead {
  return { title: "someone", start: "e-0", events, faults: [] };
}

function post(offset: number, text = `post ${offset}`): StreamItem {
  const id = `e-${offset}`;
  return { event: "post", cursor: id, post: { id, author: "ann", text, mentions: [], tags: [], at: offset } };
}
