/* PassedOver: messages of the log that no node can read, and that an operator has let all nodes leave out.
 *
 * A malformed message stops every node at the same place (batch.ts). `whalesong cluster pass-over SEQ` records here that it is to be left out;
 * a node that is stopped at it, or comes to it later, finds the record and goes on after it. What a node can apply it never looks up.
 *
 * A record is for good, since a node may begin from a snapshot that is older than the message. It names the log and the message by its digest: a
 * log that was restored from an older copy may hold another one there. */

import { createHash } from "node:crypto";

import type { NatsConnection } from "nats";

import { Bucket, keyPart } from "./bucket.ts";
import type { ClusterNames } from "./names.ts";

/** A message of the log that was created then. */
export interface LoggedMessage {
  created: string;
  seq: number;
  data: Uint8Array;
}

interface Mark {
  digest: string;
  /** What was wrong with it, for people who look into NATS. */
  why: string;
}

export class PassedOver {
  readonly #bucket: Bucket;

  static async of(connection: NatsConnection, { passedOver: name }: ClusterNames): Promise<PassedOver> {
    const description = "messages of a Whalesong cluster's log that its nodes leave out";
    return new PassedOver(await Bucket.of(connection, { name, description }));
  }

  private constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  /** Whether it is to be left out. @throws NatsError when that cannot be had */
  async has(message: LoggedMessage): Promise<boolean> {
    const value = await this.#bucket.get(keyOf(message));
    return value !== undefined && digestIn(value.text) === digestOf(message);
  }

  /** Settles once that is recorded. `replicas` NATS servers keep a copy of a record that is the first. */
  async add(message: LoggedMessage, { why, replicas }: { why: string; replicas: number }): Promise<void> {
    const mark: Mark = { digest: digestOf(message), why };
    await this.#bucket.put(keyOf(message), JSON.stringify(mark), { replicas });
  }
}

function keyOf({ created, seq }: LoggedMessage): string {
  return `${keyPart(created)}.${seq}`;
}

function digestOf({ data }: LoggedMessage): string {
  return createHash("sha256").update(data).digest("hex");
}

/** Undefined in what no command wrote. */
function digestIn(text: string): string | undefined {
  try {
    return (JSON.parse(text) as Partial<Mark> | null)?.digest;
  } catch {
    return undefined;
  }
}
