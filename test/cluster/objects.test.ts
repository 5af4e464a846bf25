/* Objects: a file in NATS is there as a whole or not at all. */

import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { type NatsConnection, connect } from "nats";
import tap, { type Test } from "tap";

import { ObjectError, Objects } from "../../broker/cluster/objects.ts";
import { NatsServers, natsTest } from "./nats-server.ts";

const { signal: never } = new AbortController();
const bucket = "test_objects";

interface World {
  connection: NatsConnection;
  objects: Objects;
  put: (
    name: string,
    bytes: Buffer,
    signal?: AbortSignal,
    onProgress?: (bytes: number) => void,
  ) => Promise<void>;
}

async function begin(t: Test): Promise<World> {
  const nats = await NatsServers.for(t);
  const connection = await connect({ servers: nats.urls });
  t.teardown(() => connection.close());
  const objects = await Objects.of(connection, bucket);
  const folder = t.testdir();
  return {
    connection,
    objects,
    async put(name, bytes, signal = never, onProgress = () => {}) {
      const file = join(folder, name);
      await writeFile(file, bytes);
      await objects.put({ name, file, metadata: { of: name }, signal, onProgress });
    },
  };
}

async function readAll({ objects }: World, name: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  const object = (await objects.list()).find((one) => one.name === name)!;
  for await (const chunk of objects.read(object, never)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function subjects({ connection }: World): Promise<string[]> {
  const manager = await connection.jetstreamManager();
  const { state } = await manager.streams.info(`OBJ_${bucket}`, { subjects_filter: ">" });
  return Object.keys(state.subjects ?? {});
}

await natsTest(
  tap,
  "what is stored is read again, whatever its size; NATS's own client reads it, too",
  { timeoutMs: 60_000 },
  async (t) => {
    const world = await begin(t);
    const { objects, connection, put } = world;
    t.same(await objects.list(), [], "no bucket, no objects");
    await objects.create(1);
    await objects.create(1);
    const store = await connection.jetstream().views.os(bucket);
    for (const size of [0, 1, 131_071, 131_072, 131_073, 20_000_000]) {
      const bytes = randomBytes(size);
      await put(`of-${size}`, bytes);
      t.ok(bytes.equals(await readAll(world, `of-${size}`)), `${size} bytes`);
      t.ok(bytes.equals((await store.getBlob(`of-${size}`))!), "by NATS's client");
    }
    t.equal((await objects.list()).length, 6);
    t.equal((await objects.list()).find(({ name }) => name === "of-1")!.metadata["of"], "of-1");
    for (const object of await objects.list()) await objects.remove(object);
    t.same(await subjects(world), [], "nothing is left of what was removed");
  },
);

await natsTest(
  tap,
  "one that is not whole is not there, and is swept away",
  { timeoutMs: 60_000 },
  async (t) => {
    const world = await begin(t);
    const { objects, connection, put } = world;
    await objects.create(1);
    const whole = randomBytes(1_000_000);
    await put("whole", whole);

    const given = new AbortController();
    const putting = put("given-up", randomBytes(30_000_000), given.signal, () => given.abort());
    await t.rejects(putting);
    t.same(
      (await objects.list()).map(({ name }) => name),
      ["whole"],
    );

    // As a writer leaves it that ends before it says what its chunks are,
    await connection.jetstream().publish(`$O.${bucket}.C.nobodys`, randomBytes(1_000));
    // and as one whose chunks were swept away while it still wrote.
    await put("robbed", randomBytes(1_000_000));
    const manager = await connection.jetstreamManager();
    const robbed = (await objects.list()).find(({ name }) => name === "robbed")!;
    await manager.streams.purge(`OBJ_${bucket}`, { filter: `$O.${bucket}.C.${robbed.nuid}`, keep: 3 });
    t.same(
      (await objects.list()).map(({ name }) => name),
      ["whole"],
    );
    t.ok((await objects.sweep()) >= 3);
    t.equal((await subjects(world)).length, 2);
    t.ok(whole.equals(await readAll(world, "whole")));
    t.equal(await objects.sweep(), 0);
  },
);

await natsTest(
  tap,
  "one whose bytes are not those that were stored is refused",
  { timeoutMs: 60_000 },
  async (t) => {
    const world = await begin(t);
    const { objects, put } = world;
    await objects.create(1);
    await put("one", randomBytes(300_000));
    const [object] = await objects.list();
    const reading = objects.read({ ...object!, digest: `SHA-256=${"A".repeat(43)}=` }, never);
    let bytes = 0;
    await t.rejects(async () => {
      for await (const chunk of reading) bytes += chunk.length;
    }, ObjectError);
    t.ok(bytes < 300_000, "before its end");
  },
);

await natsTest(
  tap,
  "NATS that goes away in the midst fails the call, and nothing else",
  { timeoutMs: 60_000 },
  async (t) => {
    const nats = await NatsServers.for(t);
    const connection = await connect({ servers: nats.urls, maxReconnectAttempts: 0 });
    const objects = await Objects.of(connection, bucket);
    await objects.create(1);
    const file = join(t.testdir(), "file");
    await writeFile(file, randomBytes(50_000_000));
    let stopping: Promise<void> | undefined;
    const onProgress = (): void => void (stopping ??= nats.kill());
    await t.rejects(objects.put({ name: "one", file, metadata: {}, signal: never, onProgress }));
    await stopping;
    await connection.close();
  },
);
