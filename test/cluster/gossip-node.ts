/* GossipNode: what of a node gossips: a store, its cursors, and a connection to NATS of its own. */

import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { type NatsConnection, connect } from "nats";
import { pino } from "pino";
import type { Test } from "tap";

import type { Gossip } from "../../broker/cluster/gossip.ts";
import { SharedCursors, type SharedCursorsOptions } from "../../broker/cluster/shared-cursors.ts";
import { type Cursor, type CursorKey, State } from "../../broker/state/index.ts";
import { budget } from "../pace.ts";
import { NatsServers } from "./nats-server.ts";

/** How long what is waited for may take on a quiet machine, in ms. */
const patienceMs = 60_000;

export const subject = "test.cursors";

export interface GossipNodeOptions extends Partial<SharedCursorsOptions> {
  /** The store that it begins with a copy of. @default that of the ground: nodes of one history */
  folder?: string;
}

/** A NATS, and a history that nodes share. */
export interface Ground {
  nats: NatsServers;
  /** A store of another history. */
  elsewhere: string;
  /** Starts a node; it ends with the test. */
  node: (name: string, options?: GossipNodeOptions) => Promise<GossipNode>;
}

export async function ground(t: Test): Promise<Ground> {
  const nats = await NatsServers.for(t);
  const [store, elsewhere] = [await emptyStore(t), await emptyStore(t)];
  const node = (name: string, options: GossipNodeOptions = {}): Promise<GossipNode> =>
    GossipNode.for(t, name, nats.urls, { folder: store, ...options });
  return { nats, elsewhere, node };
}

async function emptyStore(t: Test): Promise<string> {
  const folder = await temporaryFolder(t);
  const state = await State.open(folder);
  await state.close();
  return folder;
}

async function temporaryFolder(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "whalesong-"));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
}

export class GossipNode {
  readonly name: string;
  readonly folder: string;
  readonly state: State;
  readonly cursors: SharedCursors;
  readonly connection: NatsConnection;
  readonly gossip: Gossip;
  /** What it has logged, as JSON. */
  readonly logged: string[] = [];
  #isStopped = false;

  static async for(t: Test, name: string, nats: string, options: GossipNodeOptions): Promise<GossipNode> {
    const folder = await temporaryFolder(t);
    await cp(options.folder!, folder, { recursive: true });
    const connection = await connect({ servers: nats, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
    const state = await State.open(folder, { isSameEpoch: true }); // nodes begin with copies of one history
    const node = new GossipNode(name, { folder, state, connection }, options);
    t.teardown(() => node.stop());
    return node;
  }

  private constructor(
    name: string,
    { folder, state, connection }: { folder: string; state: State; connection: NatsConnection },
    options: GossipNodeOptions,
  ) {
    this.name = name;
    this.folder = folder;
    this.state = state;
    this.connection = connection;
    this.cursors = new SharedCursors(state, {
      node: name,
      logger: pino({ level: "debug" }, { write: (line: string) => void this.logged.push(line) }),
      standingMs: 200,
      ...options,
    });
    this.gossip = this.cursors.share(connection, subject)!;
  }

  /** GENERATION:OFFSET, as it has it on disk; undefined when it has none. */
  place(key: CursorKey): string | undefined {
    this.state.refresh();
    return placeOf(this.state.cursors.get(key));
  }

  /** All cursors that it has on disk. */
  async all(): Promise<Map<CursorKey, string>> {
    await this.cursors.flush();
    this.state.refresh();
    return new Map([...this.state.cursors.after(undefined)].map(([key, cursor]) => [key, placeOf(cursor)!]));
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    await this.cursors.close();
    await this.connection.close();
    await this.state.close();
  }
}

export function placeOf(cursor: Cursor | undefined): string | undefined {
  return cursor === undefined ? undefined : `${cursor.generation}:${cursor.offset}`;
}

/** Waits until it is so. @throws when it is not within what is long on this machine */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + budget(patienceMs);
  while (!(await isSo())) {
    if (performance.now() > deadline)
      throw new Error(`not so after ${patienceMs} ms of a quiet machine: ${String(isSo)}`);
    await sleep(10);
  }
}
