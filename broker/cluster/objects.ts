/* Objects: files in a bucket of JetStream's object store.
 *
 *   $O.BUCKET.C.ID      the chunks of an object, in order
 *   $O.BUCKET.M.NAME    JSON about it, NAME in base64url; written last: an object without it is none
 *
 * The layout is NATS's own, so that its tools can list and fetch what is here. Reading and writing are not left to the client library,
 * which sends all chunks without waiting for one (a large file is in memory, and a lost answer ends the process as an
 * unhandled rejection), receives without end, and hashes in JavaScript. */

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";

import {
  DiscardPolicy,
  type JetStreamClient,
  type JetStreamManager,
  type NatsConnection,
  NatsError,
  type ObjectStore,
  type PubAck,
  StorageType,
  headers,
  nuid,
} from "nats";

import { pause } from "./connection.ts";

const chunkBytes = 131_072;
/** Chunks sent and not yet stored. */
const maxUnstored = 32;
/** How long NATS may take to store or send one, in ms. */
const answerMs = 20_000;
/** A server that keeps a copy may not have the newest chunks yet: how often to ask again, and how soon, in ms. */
const maxAttempts = 20;
const againMs = 250;
const maxLists = 8;
const noStream = 10_059;

/** An object, as its JSON tells it. */
export interface ObjectInfo {
  name: string;
  /** Names its chunks. */
  nuid: string;
  size: number;
  chunks: number;
  /** `SHA-256=` and base64url. */
  digest: string;
  metadata: Record<string, string>;
}

/** An object that cannot be had whole. */
export class ObjectError extends Error {
  override readonly name = "ObjectError";
}

export interface PutOptions {
  name: string;
  /** The file it is made of. */
  file: string;
  metadata: Record<string, string>;
  signal: AbortSignal;
  /** Called now and then with the bytes stored so far. */
  onProgress?: (bytes: number) => void;
}

export class Objects {
  readonly #connection: NatsConnection;
  readonly #bucket: string;
  readonly #js: JetStreamClient;
  readonly #manager: JetStreamManager;
  #store: ObjectStore | undefined;

  static async of(connection: NatsConnection, bucket: string): Promise<Objects> {
    const manager = await connection.jetstreamManager({ timeout: answerMs, checkAPI: false });
    return new Objects(connection, bucket, manager);
  }

  private constructor(connection: NatsConnection, bucket: string, manager: JetStreamManager) {
    this.#connection = connection;
    this.#bucket = bucket;
    this.#js = connection.jetstream({ timeout: answerMs });
    this.#manager = manager;
  }

  /** Makes the bucket when it is missing. `replicas` NATS servers keep a copy. */
  async create(replicas: number): Promise<void> {
    if (await this.#exists()) return;
    await this.#manager.streams.add({
      name: this.#stream,
      subjects: [`$O.${this.#bucket}.C.>`, `$O.${this.#bucket}.M.>`],
      description: "snapshots of a Whalesong cluster",
      storage: StorageType.File,
      num_replicas: replicas,
      discard: DiscardPolicy.New,
      allow_rollup_hdrs: true,
      allow_direct: true,
    });
  }

  /** All objects whose chunks are there. Empty when there is no bucket. */
  async list(): Promise<ObjectInfo[]> {
    if (!(await this.#exists())) return [];
    const [objects, counts] = [await this.#described(), await this.#chunkCounts()];
    return objects.filter((object) => (counts[this.#chunkSubject(object.nuid)] ?? 0) === object.chunks);
  }

  /** Stores a file. Until the last of it is stored there is no such object. */
  async put({ name, file, metadata, signal, onProgress }: PutOptions): Promise<void> {
    const id = nuid.next();
    const hash = createHash("sha256");
    const sender = new ChunkSender(this.#js, this.#chunkSubject(id));
    let size = 0;
    let chunks = 0;
    const source: AsyncIterable<Buffer> = createReadStream(file, { highWaterMark: chunkBytes });
    try {
      for await (const chunk of source) {
        signal.throwIfAborted();
        hash.update(chunk);
        await sender.send(chunk);
        size += chunk.length;
        chunks++;
        onProgress?.(size);
      }
      await sender.settled();
      signal.throwIfAborted();
    } catch (error) {
      await sender.settled().catch(() => {});
      await this.#purge(this.#chunkSubject(id)).catch(() => {}); // else `sweep` finds it
      throw error;
    }
    const info = {
      name,
      description: "",
      bucket: this.#bucket,
      nuid: id,
      size,
      chunks,
      mtime: new Date().toISOString(),
      digest: `SHA-256=${base64Url(hash.digest())}`,
      options: { max_chunk_size: chunkBytes },
      metadata,
      deleted: false,
    };
    const header = headers();
    header.set("Nats-Rollup", "sub");
    await this.#js.publish(this.#metaSubject(name), JSON.stringify(info), { headers: header });
  }

  /** Its bytes, in order. Nobody is told of the last before all are checked. @throws ObjectError when it is not whole */
  async *read(
    { name, nuid: id, size, chunks, digest }: ObjectInfo,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const hash = createHash("sha256");
    let bytes = 0;
    let after = 0;
    for (let number = 1; number <= chunks; number++) {
      const { seq, data } = await this.#chunk(name, id, after, signal);
      after = seq;
      bytes += data.length;
      hash.update(data);
      if (number === chunks) check();
      yield data;
    }
    if (chunks === 0) check();

    function check(): void {
      const found = `SHA-256=${base64Url(hash.digest())}`;
      if (bytes === size && found === digest) return;
      throw new ObjectError(
        `object ${name}: what came is of ${bytes} bytes and ${found}, not ${size} and ${digest}`,
      );
    }
  }

  /** First what says that it is there, then the rest. */
  async remove({ name, nuid: id }: ObjectInfo): Promise<void> {
    await this.#purge(this.#metaSubject(name));
    await this.#purge(this.#chunkSubject(id));
  }

  /** Removes what is of no whole object: what a writer left that ended in the midst. Nobody may be writing. Tells how many. */
  async sweep(): Promise<number> {
    const whole = await this.list();
    const kept = new Set(
      whole.flatMap(({ name, nuid: id }) => [this.#metaSubject(name), this.#chunkSubject(id)]),
    );
    const broken = (await this.#described()).map(({ name }) => this.#metaSubject(name));
    const left = [...broken, ...Object.keys(await this.#chunkCounts())].filter(
      (subject) => !kept.has(subject),
    );
    for (const subject of left) await this.#purge(subject);
    return left.length;
  }

  async #exists(): Promise<boolean> {
    try {
      await this.#manager.streams.info(this.#stream);
      return true;
    } catch (error) {
      if (error instanceof NatsError && error.api_error?.err_code === noStream) return false;
      throw error;
    }
  }

  /** A list comes from any server that keeps a copy, which may not have the newest yet; the one that leads knows what there is. */
  async #described(): Promise<ObjectInfo[]> {
    this.#store ??= await this.#js.views.os(this.#bucket);
    const filter = { subjects_filter: `$O.${this.#bucket}.M.>` };
    for (let attempt = 1; ; attempt++) {
      const { state } = await this.#manager.streams.info(this.#stream, filter);
      const listed = (await this.#store.list()) as unknown as ObjectInfo[];
      const names = new Set(listed.map(({ name }) => this.#metaSubject(name)));
      // What another program has deleted leaves a mark that is not listed.
      const isAll = Object.keys(state.subjects ?? {}).every((subject) => names.has(subject));
      if (isAll || attempt === maxLists) return listed;
      await pause(againMs);
    }
  }

  async #chunkCounts(): Promise<Record<string, number>> {
    const filter = { subjects_filter: `$O.${this.#bucket}.C.>` };
    const { state } = await this.#manager.streams.info(this.#stream, filter);
    return state.subjects ?? {};
  }

  /** The first chunk after the sequence `after`. */
  async #chunk(
    name: string,
    id: string,
    after: number,
    signal: AbortSignal,
  ): Promise<{ seq: number; data: Uint8Array }> {
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      try {
        return await this.#next(this.#chunkSubject(id), after + 1);
      } catch (cause) {
        if (attempt === maxAttempts) {
          throw new ObjectError(`object ${name}: a piece of it cannot be had (${(cause as Error).message})`, {
            cause,
          });
        }
      }
      await pause(againMs, signal);
    }
  }

  /** The first message with this subject from the sequence `seq` on. Of any server that keeps a copy, as it is: by JetStream's direct
   *  access, which the client library has and does not hand out. */
  async #next(subject: string, seq: number): Promise<{ seq: number; data: Uint8Array }> {
    const question = JSON.stringify({ seq, next_by_subj: subject });
    const to = `$JS.API.DIRECT.GET.${this.#stream}`;
    const { headers: told, data } = await this.#connection.request(to, question, { timeout: answerMs });
    if (told === undefined || told.code >= 300)
      throw new Error(told?.description ?? "no answer of JetStream's");
    return { seq: Number(told.get("Nats-Sequence")), data };
  }

  async #purge(subject: string): Promise<void> {
    await this.#manager.streams.purge(this.#stream, { filter: subject });
  }

  get #stream(): string {
    return `OBJ_${this.#bucket}`;
  }

  #chunkSubject(id: string): string {
    return `$O.${this.#bucket}.C.${id}`;
  }

  #metaSubject(name: string): string {
    return `$O.${this.#bucket}.M.${base64Url(Buffer.from(name))}`;
  }
}

/** Sends chunks ahead of their acknowledgements, not too many, and sees that they are stored in order. */
class ChunkSender {
  readonly #js: JetStreamClient;
  readonly #subject: string;
  readonly #unstored: Promise<PubAck | Error>[] = [];
  #last = 0;

  constructor(js: JetStreamClient, subject: string) {
    this.#js = js;
    this.#subject = subject;
  }

  async send(chunk: Uint8Array): Promise<void> {
    while (this.#unstored.length >= maxUnstored) await this.#next();
    // Caught here and looked at later: meanwhile nobody else holds the promise.
    const stored = this.#js.publish(this.#subject, chunk, { timeout: answerMs });
    this.#unstored.push(stored.catch((error: unknown) => error as Error));
  }

  async settled(): Promise<void> {
    while (this.#unstored.length > 0) await this.#next();
  }

  async #next(): Promise<void> {
    const stored = await this.#unstored.shift()!;
    if (stored instanceof Error) throw stored;
    if (stored.seq <= this.#last) throw new ObjectError("chunks were not stored in their order");
    this.#last = stored.seq;
  }
}

/** With padding, as NATS has it. */
function base64Url(bytes: Buffer): string {
  return bytes.toString("base64").replaceAll("+", "-").replaceAll("/", "_");
}
