/* Register: which nodes a cluster has, and which levels of the log each reads (state/levels.ts), also those that are away.
 *
 *   a node of this version     writes its own row when it starts, and each minute
 *   one of an earlier version  cannot: every node of this version that hears it answer writes it a row
 *   a node that is away        has its row for 24 h more, or until `whalesong cluster forget NODE`
 *
 * The level is raised once all read the next one (raising.ts). So the register errs towards reading less: of several that share a name and
 * answer, the row tells what the one of them reads that reads least. Of those that share a name and are away nobody can tell that they
 * are several: names are to be unique, as they are by default (HOST-PORT). */

import type { NatsConnection } from "nats";

import type { Logger } from "../logger.ts";
import { oldestLevel } from "../state/index.ts";
import { Bucket, isForWantOfRights, keyPart } from "./bucket.ts";
import { ClusterError } from "./error.ts";
import { orAborted, pause } from "./connection.ts";
import type { NodeStatus } from "./status.ts";

/** How long a row is kept after its node was heard of last, in ms. */
const keptMs = 24 * 3_600_000;
/** How often a node writes its rows, in ms. */
const noteMs = 60_000;
/** How often it is said that this fails, in ms. */
const complainMs = 600_000;

/** What is known of a node. */
export interface NodeRow {
  node: string;
  /** One run of its broker. */
  run: string;
  version: string;
  /** The levels it reads. */
  oldest: number;
  newest: number;
}

export interface RegisteredNode extends NodeRow {
  /** When its row was written last, by the clock of NATS, in ms since the Unix epoch. */
  seenAt: number;
}

export interface RegisterOptions {
  /** The bucket's name. */
  bucket: string;
  /** How long a row is kept, in ms. @default 24 h */
  ttlMs?: number;
}

export class Register {
  readonly #bucket: Bucket;
  readonly #name: string;

  static async of(
    connection: NatsConnection,
    { bucket: name, ttlMs = keptMs }: RegisterOptions,
  ): Promise<Register> {
    const description = "the nodes of a Whalesong cluster, and what they read";
    return new Register(await Bucket.of(connection, { name, description, ttlMs }), name);
  }

  private constructor(bucket: Bucket, name: string) {
    this.#bucket = bucket;
    this.#name = name;
  }

  /** All of it, by name. @throws ClusterError with what to do when NATS does not let this node read it */
  async list(): Promise<RegisteredNode[]> {
    const values = await this.#try(() => this.#bucket.values());
    const nodes: RegisteredNode[] = [];
    for (const { text, at } of values) {
      const row = rowOf(text);
      if (row !== undefined) nodes.push({ ...row, seenAt: at });
    }
    return nodes.sort((a, b) => (a.node < b.node ? -1 : 1));
  }

  /** In place of what there was of that name. `replicas` NATS servers keep a copy of a register that is begun by this. */
  async note(row: NodeRow, { replicas }: { replicas: number }): Promise<void> {
    await this.#try(() => this.#bucket.put(keyPart(row.node), JSON.stringify(row), { replicas }));
  }

  /** Whether there was a row of that name. */
  async forget(node: string): Promise<boolean> {
    const key = keyPart(node);
    return await this.#try(async () => {
      if ((await this.#bucket.get(key)) === undefined) return false;
      await this.#bucket.remove(key);
      return true;
    });
  }

  async #try<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (cause) {
      if (!isForWantOfRights(cause)) throw cause;
      throw new ClusterError(
        `NATS does not let this node use the bucket ${this.#name}; allow it as broker/deploy/nats-server.conf does`,
        { cause },
      );
    }
  }
}

/** The levels that a node reads which answers so. Those of 0.1.0 do not say. */
export function levelsOf({ levels }: Pick<NodeStatus, "levels">): readonly [oldest: number, newest: number] {
  return levels ?? [oldestLevel, oldestLevel];
}

/** What `self` is to write, having asked who is there: its own row, and those of nodes that do not write theirs. */
export function rowsFor(self: NodeRow, answers: readonly NodeStatus[]): NodeRow[] {
  const rows = new Map([[self.node, self]]);
  for (const answer of answers) {
    const isItsOwnConcern = answer.levels !== undefined && answer.node !== self.node;
    if (isItsOwnConcern || answer.run === self.run) continue;
    const { node, run, version } = answer;
    const [oldest, newest] = levelsOf(answer);
    const other = rows.get(node);
    if (other === undefined || newest < other.newest) rows.set(node, { node, run, version, oldest, newest });
  }
  return [...rows.values()];
}

export interface EnrolmentParts {
  register: Register;
  /** This node. */
  self: NodeRow;
  replicas: number;
  /** Who is there. */
  ask: () => Promise<NodeStatus[]>;
  logger: Logger;
  /** How often rows are written, in ms. @default 60,000 */
  everyMs?: number;
}

/** Keeps this node in the register, and those that it hears which cannot do that. Until the signal is aborted; does not reject. */
export async function enrol(
  { register, self, replicas, ask, logger, everyMs = noteMs }: EnrolmentParts,
  signal: AbortSignal,
): Promise<void> {
  const round = async (): Promise<void> => {
    for (const row of rowsFor(self, await ask())) {
      if (!signal.aborted) await register.note(row, { replicas });
    }
  };
  let complainedAt = -Infinity;
  while (!signal.aborted) {
    try {
      await orAborted(round(), signal);
      complainedAt = -Infinity;
    } catch (error) {
      if (!signal.aborted && performance.now() - complainedAt >= complainMs) {
        complainedAt = performance.now();
        logger.warn(
          { err: error },
          "this node cannot write itself into the register of nodes: the cluster's level is not raised meanwhile",
        );
      }
    }
    await pause(everyMs, signal).catch(() => {});
  }
}

/** Undefined for what no node wrote. */
function rowOf(text: string): NodeRow | undefined {
  let row: Partial<Record<keyof NodeRow, unknown>> | null;
  try {
    row = JSON.parse(text) as typeof row;
  } catch {
    return undefined;
  }
  const { node, run, version, oldest, newest } = row ?? {};
  if (typeof node !== "string" || typeof run !== "string" || typeof version !== "string") return undefined;
  if (typeof oldest !== "number" || typeof newest !== "number") return undefined;
  return { node, run, version, oldest, newest };
}
