/* Wire bytes: how many bytes a target sends for one post to one reader, payload and all that is around it. */

import { Connection, type ConnectionOptions } from "../load/connection.ts";
import type { Dialect, DialectRef } from "../load/dialect.ts";
import { makeFiller, makeStamp, nowMicros } from "../load/stamp.ts";
import type { Run } from "../run.ts";
import type { Target } from "../targets/target.ts";

/** Posts before the one that counts: the first ones may come with what greets a reader. */
const postsBefore = 3;

export async function measureWireBytes(run: Run, target: Target, payloadBytes: number): Promise<number> {
  const { signal } = run;
  const folder = run.makeFolder();
  const running = await target.start({ folder, cores: undefined, profiles: undefined, signal });
  try {
    return await countBytes(await importDialect(running.dialect(run.makeName())), payloadBytes);
  } finally {
    await running.stop();
  }
}

/** As a load process does. */
async function importDialect({ module, options }: DialectRef): Promise<Dialect> {
  const ending = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const url = new URL(`../${module}.${ending}`, import.meta.url);
  const { createDialect } = (await import(url.href)) as { createDialect: (options: unknown) => Dialect };
  return createDialect(options);
}

async function countBytes(dialect: Dialect, payloadBytes: number): Promise<number> {
  const publishing = dialect.publisher(0);
  const follow = dialect.follow?.bind(dialect);
  let fail: ((error: Error) => void) | undefined;
  const failed = new Promise<never>((_resolve, reject) => (fail = reject));
  failed.catch(() => {}); // told to whoever waits
  let answered: (() => void) | undefined;
  const publisher = await open({
    address: dialect.address,
    payloadBytes,
    script: publishing,
    onChunk: (bytes) => publishing.answers?.(bytes, () => answered?.()),
    onEnd: (error) => fail?.(error),
  });
  let lastId = 0;
  if (follow !== undefined) {
    const done = new Promise<void>((resolve) => (answered = resolve));
    publisher.write(follow({ reader: 0, topic: 0, id: ++lastId }));
    await Promise.race([done, failed]);
  }
  let bytes = 0;
  let arrived: (() => void) | undefined;
  const reader = await open({
    address: dialect.address,
    payloadBytes,
    script: dialect.reader({ reader: 0, topics: Uint32Array.of(0) }),
    onChunk: (chunk) => (bytes += chunk.length),
    onMessage: () => arrived?.(),
    onEnd: (error) => fail?.(error),
  });
  const filler = makeFiller(payloadBytes);
  for (let post = 0; post <= postsBefore; post++) {
    bytes = 0;
    const done = new Promise<void>((resolve) => (arrived = resolve));
    const payload = makeStamp(post, nowMicros()) + filler;
    publisher.write(publishing.publish({ topic: 0, payload, id: ++lastId }));
    await Promise.race([done, failed]);
  }
  publisher.close();
  reader.close();
  return bytes;
}

function open(options: Omit<ConnectionOptions, "onReady">): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const connection: Connection = new Connection({
      ...options,
      onReady: () => resolve(connection),
      onEnd: (error) => {
        options.onEnd(error);
        reject(error);
      },
    });
  });
}
