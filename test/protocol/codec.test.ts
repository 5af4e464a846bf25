/* The codecs: both hand on the same maps, exactly as they were sent, and refuse whatever is no such map. */

import * as fc from "fast-check";
import { test } from "tap";

import { WhalesongError, decode, encode } from "../../protocol/index.ts";

/** Bytes put together from hexadecimal and text. */
function bytes(...parts: (string | number[])[]): Uint8Array {
  return Buffer.concat(parts.map((part) => Buffer.from(part as string)));
}

function refusal(frame: Uint8Array): string {
  try {
    decode("msgpack", frame);
  } catch (error) {
    if (error instanceof WhalesongError && error.code === "bad_frame") return error.message;
    throw error;
  }
  throw new Error(`taken: ${Buffer.from(frame).toString("hex").slice(0, 200)}`);
}

/** What UTF-8 is not, each with a name. */
const notUtf8: [name: string, bytes: number[]][] = [
  ["Latin-1", [0x63, 0x61, 0x66, 0xe9]],
  ["a key of Latin-1", [0xe9, 0x31]],
  ["another", [0xe8, 0x31]],
  ["a continuation alone", [0x80]],
  ["a character cut short", [0xf0, 0x9f, 0x90]],
  ["an overlong slash", [0xc0, 0xaf]],
  ["an overlong NUL", [0xc0, 0x80]],
  ["an overlong euro", [0xf0, 0x82, 0x82, 0xac]],
  ["half a surrogate pair", [0xed, 0xa0, 0x80]],
  ["a surrogate pair as CESU-8", [0xed, 0xa0, 0xbd, 0xed, 0xb0, 0x8b]],
  ["beyond Unicode", [0xf4, 0x90, 0x80, 0x80]],
  ["five bytes", [0xf8, 0x88, 0x80, 0x80, 0x80]],
  ["0xff", [0xff]],
];

/** The headers under which msgpack may have a string of `length` bytes. */
function stringHeaders(length: number): number[][] {
  const wide = [
    [0xda, length >> 8, length & 0xff],
    [0xdb, 0, 0, length >> 8, length & 0xff],
  ];
  if (length < 0x100) wide.push([0xd9, length]);
  if (length < 0x20) wide.push([0xa0 | length]);
  return wide;
}

void test("a string that is not UTF-8 makes its frame bad, wherever it stands and however long it is", async (t) => {
  for (const [name, wrong] of notUtf8) {
    for (const padding of [0, 5, 20, 40, 100, 300, 5_000]) {
      for (const text of [
        [...Buffer.alloc(padding, "a"), ...wrong],
        [...wrong, ...Buffer.alloc(padding, "a")],
        [...Buffer.from("é".repeat(padding)), ...wrong],
      ]) {
        for (const head of stringHeaders(text.length)) {
          const string = [...head, ...text];
          const places = [
            bytes(string),
            bytes([0x91], string),
            bytes([0x81, 0xa4], "text", string),
            bytes([0x81], string, [1]), // a map's key
            bytes([0x82, 0xa2], "op", [0xa4], "post", [0xa4], "data", [0x81, 0xa1, 0x6b, 0x91], string),
          ];
          for (const frame of places) t.match(refusal(frame), "not UTF-8", `${name}, ${padding}`);
        }
      }
    }
  }
});

void test("text of any characters comes through, at any length and whatever surrounds it", async () => {
  const unit = fc.constantFrom("grapheme", "binary", "grapheme-ascii");
  const text = unit.chain((each) => fc.string({ unit: each, maxLength: 400, size: "max" }));
  fc.assert(
    fc.property(fc.array(text, { maxLength: 6 }), text, (texts, name) => {
      const message = { texts, name, [`k${name}`]: { [name]: name } };
      const decoded = decode("msgpack", encode("msgpack", message));
      return name === "__proto__" || JSON.stringify(decoded) === JSON.stringify(message);
    }),
    { numRuns: 500 },
  );
});

void test("a mark of byte order is a character like any other", async (t) => {
  const short = "\ufeffa";
  const long = `\ufeff${"é".repeat(100)}`;
  t.same(decode("msgpack", encode("msgpack", { short, long })), { short, long });
});

void test("what JSON cannot carry makes a frame bad", async (t) => {
  for (const [what, frame] of [
    ["binary", [0x81, 0xa1, 0x61, 0xc4, 1, 0]],
    ["binary, 16 bits", [0xc5, 0, 1, 0]],
    ["binary, 32 bits", [0xc6, 0, 0, 0, 1, 0]],
    ["a timestamp", [0xd6, 0xff, 0, 0, 0, 1]],
    ["an extension", [0xd4, 0, 0]],
    ["an extension of any size", [0xc7, 1, 5, 0]],
    ["a record of msgpackr", [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 1]],
    ["never used", [0xc1]],
    ["an integer for a key", [0x81, 1, 1]],
    ["nil for a key", [0x81, 0xc0, 1]],
    ["true for a key", [0x81, 0xc3, 1]],
    ["an array for a key", [0x81, 0x90, 1]],
    ["a map for a key", [0x81, 0x80, 1]],
    ["NaN", [0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]],
    ["Infinity", [0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0]],
    ["-Infinity, 32 bits", [0xca, 0xff, 0x80, 0, 0]],
  ] as const)
    t.ok(refusal(Uint8Array.from(frame)), what);
});

void test("a frame that is cut short or goes on is bad, and costs no more than it is long", async (t) => {
  const whole = Buffer.from(
    encode("msgpack", {
      id: 1,
      op: "post",
      text: "é".repeat(20),
      data: { list: [1.5, -7, 1e9, null, true], map: { a: "b" } },
    }),
  );
  for (let end = 0; end < whole.length; end++) t.ok(refusal(whole.subarray(0, end)), `${end} bytes`);
  t.ok(refusal(Buffer.concat([whole, Buffer.of(0xc0)])));
  for (const head of [
    [0xdd, 0xff, 0xff, 0xff, 0xff],
    [0xdf, 0x7f, 0xff, 0xff, 0xff],
    [0xdb, 0xff, 0xff, 0xff, 0xff],
  ])
    t.match(refusal(Uint8Array.from([...head, 1, 1, 1])), "ends");
});

void test("both codecs read the same of the same map: names of JavaScript's, equal keys, any depth, any number", async (t) => {
  for (const [json, msgpack] of [
    ['{"__proto__":{"a":1},"b":2}', bytes([0x82, 0xa9], "__proto__", [0x81, 0xa1], "a", [1, 0xa1], "b", [2])],
    ['{"__proto_":1}', bytes([0x81, 0xa8], "__proto_", [1])],
    ['{"a":1,"a":2}', bytes([0x82, 0xa1], "a", [1, 0xa1], "a", [2])],
    ['{"constructor":1,"toJSON":"x"}', bytes([0x82, 0xab], "constructor", [1, 0xa6], "toJSON", [0xa1], "x")],
    ["18446744073709551615", bytes([0xcf, 255, 255, 255, 255, 255, 255, 255, 255])],
    ["9007199254740993", bytes([0xcf, 0, 0x20, 0, 0, 0, 0, 0, 1])],
    ["-9223372036854775808", bytes([0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0])],
    ["-1", bytes([0xd3, 255, 255, 255, 255, 255, 255, 255, 255])],
    ["0.5", bytes([0xca, 0x3f, 0, 0, 0])],
  ] as [string, Uint8Array][]) {
    const [one, other] = [decode("json", json), decode("msgpack", msgpack)];
    t.strictSame(other, one, json);
    t.equal(JSON.stringify(other), JSON.stringify(one), json);
    if (typeof other === "object") t.equal(Object.getPrototypeOf(other), Object.prototype, json);
  }
  t.equal(({} as Record<string, unknown>)["a"], undefined);
  const levels = 60_000;
  const deep = decode("msgpack", Buffer.concat([Buffer.alloc(levels - 1, 0x91), Buffer.of(0x90)]));
  let count = 0;
  for (let inner = deep; Array.isArray(inner); inner = (inner as unknown[])[0]) count++;
  t.equal(count, levels);
});
