/* GossipNode: what of a node gossips: a store, its keeper of cursors, and gossip over a connection to NATS of its own. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type NatsConnection, connect } from "nats";
import { pino } from "pino";
import type { Test } from "tap";

import { Gossip } from "../../broker/cluster/gossip.ts";
import { SharedCursors } from "../../broker/cluster/shared-cursors.ts";
import { CursorKeeper } from "../../broker/sessions/index.ts";
import { type Cursor, type CursorKey, State } from "../../broker/state/index.ts";

export const subject = "test.cursors";

export interface GossipNodeOptions {
  nats: string;
  name: string;
  /** @default "epoch" */
  epoch?: string;
  maxPending?: number;
  standingMs?: number;
  /** Its store, when it had one before. */
  folder?: string;
}

export class GossipNode {
  readonly name: string;
  readonly folder: string;
  readonly state: State;
  readonly keeper: CursorKeeper;
  readonly connection: NatsConnection;
  readonly gossip: Gossip;
  readonly cursors: SharedCursors;
  /** What it has logged, as JSON. */
  readonly logged: string[] = [];
  #isStopped = false;

  static async for(t: Test, options: GossipNodeOptions): Promise<GossipNode> {
    const { nats, name } = options;
    const folder = options.folder ?? (await mkdtemp(join(tmpdir(), "whalesong-")));
    const connection = await connect({
      servers: nats,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 50,
      name,
    });
    const node = new GossipNode(await State.open(folder), connection, { ...options, folder });
    t.teardown(async () => {
      await node.stop();
      await rm(folder, { recursive: true, force: true });
    });
    return node;
  }

  private constructor(
    state: State,
    connection: NatsConnection,
    { name, folder, epoch = "epoch", standingMs = 200, maxPending }: GossipNodeOptions & { folder: string },
  ) {
    this.name = name;
    this.folder = folder;
    this.state = state;
    this.connection = connection;
    this.keeper = new CursorKeeper(state, {
      onFailure: (error) => {
        throw error;
      },
      onWritten: (cursors) => this.gossip.tell(cursors),
    });
    this.gossip = new Gossip({
      connection,
      subject,
      node: name,
      epoch: () => epoch,
      cursors: this.keeper,
      logger: pino({ level: "debug" }, { write: (line: string) => void this.logged.push(line) }),
      standingMs,
      ...(maxPending === undefined ? {} : { maxPending }),
    });
    this.cursors = new SharedCursors(this.keeper, this.gossip);
  }

  /** GENERATION:OFFSET; undefined when it knows of none. */
  place(key: CursorKey): string | undefined {
    return placeOf(this.keeper.get(key));
  }

  /** All cursors that it has on disk. */
  async all(): Promise<Map<CursorKey, string>> {
    await this.keeper.flush();
    return new Map([...this.keeper.after(undefined)].map(([key, cursor]) => [key, placeOf(cursor)!]));
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    await this.keeper.close();
    await this.gossip.close();
    await this.connection.close();
    await this.state.close();
  }
}

export function placeOf(cursor: Cursor | undefined): string | undefined {
  return cursor === undefined ? undefined : `${cursor.generation}:${cursor.offset}`;
}

/** Waits until it is so. The test's own timeout ends a wait that is in vain. */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 10));
}
