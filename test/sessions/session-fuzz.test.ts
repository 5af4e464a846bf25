/* Fuzzing: whatever bytes and frames come, the session answers a ping afterwards or is closed with a documented code, other
 * sessions notice nothing, and the store stays whole. */

import * as fc from "fast-check";
import tap from "tap";

import {
  type CodecName,
  WhalesongError,
  checkRequest,
  closeCodes,
  decode,
  encode,
  errorCodes,
  ops,
  requestFields,
} from "../../protocol/index.ts";
import { faultsOf } from "../state/consistency.ts";
import { SessionBroker } from "./session-broker.ts";
import type { SessionClient } from "./session-client.ts";

const codes = new Set<number>([...Object.values(closeCodes), 1002, 1003, 1007, 1009]);
// What a frame can hold: JSON without the key that JavaScript's readers of msgpack rename.
const key = fc.string({ unit: "grapheme" }).filter((name) => name !== "__proto__");
const json = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    fc.string({ unit: "grapheme" }),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (number === 0 ? 0 : number)),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie("value")),
    fc.dictionary(key, tie("value"), { noNullPrototype: true }),
  ),
})).value;

/** Requests of every operation, with fields that are right, wrong, missing or too many. */
const nearlyRight = fc.constantFrom(...ops).chain((op) => {
  const text = fc.constantFrom(
    "home",
    "mentions",
    "user:fuzz",
    "tag:a",
    "firehose",
    "fuzz",
    "other",
    "live",
    "earliest",
    "a-1",
    "-",
    "",
  );
  const value = fc.oneof(
    { weight: 4, arbitrary: text },
    { weight: 2, arbitrary: fc.integer({ min: -1, max: 3 }) },
    { weight: 1, arbitrary: json },
  );
  const fields = Object.fromEntries(Object.keys(requestFields[op]).map((name) => [name, value]));
  const extra = fc.dictionary(key, json, { maxKeys: 1, noNullPrototype: true });
  const known = fc.record(fields, { requiredKeys: [], noNullPrototype: true });
  return fc
    .tuple(known, fc.option(extra, { freq: 8 }), fc.option(fc.integer({ min: -1, max: 1_000_000 })))
    .map(([some, more, id]) =>
      Object.assign({}, some, more, id === null ? {} : { id: id + 2_000_000 }, { op }),
    );
});

for (const codec of ["json", "msgpack"] as const) {
  await tap.test(`${codec}: what is encoded decodes to the same`, (t) => {
    fc.assert(
      fc.property(fc.dictionary(key, json, { noNullPrototype: true }), (message) => {
        const decoded = decode(codec, encode(codec, message));
        if (JSON.stringify(decoded) !== JSON.stringify(message)) throw new Error(JSON.stringify(decoded));
      }),
      { numRuns: 500 },
    );
    t.pass();
    t.end();
  });

  await tap.test(`${codec}: bytes that are no frame are refused as such, and nothing else is thrown`, (t) => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated(codec)), (bytes) => {
        try {
          checkRequest(decode(codec, codec === "json" ? Buffer.from(bytes).toString() : bytes));
        } catch (error) {
          if (!isRefusal(error)) throw error;
        }
      }),
      { numRuns: 3_000 },
    );
    t.pass();
    t.end();
  });

  await tap.test(`${codec}: a session survives any frame, or is closed with a documented code`, async (t) => {
    const broker = await SessionBroker.for(t);
    const witness = await broker.connect("witness");
    let client: SessionClient | undefined;
    const connected = async (): Promise<SessionClient> => {
      if (client === undefined || client.isClosed) client = await broker.connect("fuzz", { codec });
      return client;
    };
    const frame = fc.oneof(
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 100 }) },
      { weight: 2, arbitrary: mutated(codec) },
      { weight: 4, arbitrary: nearlyRight.map((request) => bytesOf(codec, request)) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { minLength: 1, maxLength: 12 }), async (frames) => {
        const session = await connected();
        for (const bytes of frames) session.sendRaw(codec === "json" ? Buffer.from(bytes).toString() : bytes);
        const outcome = await Promise.race([
          session.request("ping").catch(() => session.closed),
          session.closed,
        ]);
        if ("code" in outcome && !codes.has(outcome.code as number))
          throw new Error(`closed with ${outcome.code as number}`);
        await witness.request("ping");
        if (broker.faults.length > 0) throw new Error(`fault: ${String(broker.faults[0])}`);
        if (broker.log.refusal !== undefined) throw new Error(broker.log.refusal);
      }),
      { numRuns: 250 },
    );
    t.same(faultsOf(broker.state), []);
  });
}

/** Right frames with a byte or two changed, cut or doubled. */
function mutated(codec: CodecName): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(nearlyRight, fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.nat(2)), { minLength: 1, maxLength: 3 }))
    .map(([request, changes]) => {
      let bytes = [...bytesOf(codec, request)];
      for (const [place, byte, kind] of changes) {
        const at = place % Math.max(1, bytes.length);
        if (kind === 0) bytes[at] = byte;
        else if (kind === 1) bytes = bytes.slice(0, at);
        else bytes.splice(at, 0, byte);
      }
      return Uint8Array.from(bytes);
    });
}

function bytesOf(codec: CodecName, message: object): Uint8Array {
  const encoded = encode(codec, message);
  return typeof encoded === "string" ? Buffer.from(encoded) : encoded;
}

function isRefusal(error: unknown): boolean {
  return error instanceof WhalesongError && error.code in errorCodes;
}
