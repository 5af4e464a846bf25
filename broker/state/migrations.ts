/* Migrations: from the layout of one level to that of the next, for what a node has to itself. Tables that all nodes have alike change as
 * commands are applied, at the same offsets everywhere, and never here.
 *
 *   layout 3    durable cursors name users by number (cursor-streams.ts)
 *
 * Done in steps of a transaction each, when a store is opened whose level asks for it, and while a broker serves when its level is raised. The store
 * says how far it has come, so what is interrupted goes on there. Until it is done, and after, both names of a cursor are looked up. */

import { type CursorKey, isLater } from "./cursors.ts";
import { isByName, keptKey } from "./cursor-streams.ts";
import { layoutOf } from "./levels.ts";
import type { State } from "./state.ts";

/** Rows looked at in one step. */
const stepRows = 2_000;
/** How often to say how far it is, in ms. */
const progressMs = 5_000;

/** How far a store has come. Not there in one of layout 2. */
export interface MigrationRecord {
  /** The layout that it has in all respects. */
  layout: number;
  /** Of the cursors, those up to here have the next one's names. */
  after?: CursorKey;
}

export interface MigrateOptions {
  /** Ends it after the step under way. */
  signal?: AbortSignal;
  onProgress?: (cursors: number) => void;
}

/** Whether the store's level asks for a layout that it does not have in all respects. */
export function isMigrationDue(state: State): boolean {
  return state.migration.layout < layoutOf(state.level);
}

/** Brings the store to the layout of its level. Settles once that is on disk, or the signal is aborted; how many cursors were looked at. */
export async function migrate(
  state: State,
  { signal, onProgress = () => {} }: MigrateOptions = {},
): Promise<number> {
  let looked = 0;
  let saidAt = performance.now();
  while (isMigrationDue(state)) {
    if (signal?.aborted === true) break;
    looked += await step(state);
    if (performance.now() - saidAt >= progressMs) {
      saidAt = performance.now();
      onProgress(looked);
    }
  }
  return looked;
}

async function step(state: State): Promise<number> {
  state.refresh();
  const { after } = state.migration;
  const renamed: [from: CursorKey, to: CursorKey][] = [];
  let last: CursorKey | undefined;
  let looked = 0;
  for (const [key] of state.cursors.after(after)) {
    looked++;
    last = key;
    const kept = isByName(key) ? keptKey(state, key) : key;
    if (kept !== key) renamed.push([key, kept]);
    if (looked === stepRows) break;
  }
  const isLast = looked < stepRows;
  const record =
    isLast || last === undefined ? { layout: layoutOf(state.level) } : { layout: 2, after: last };
  await state.migrateCursors(renamed, record);
  return looked;
}

/** Within a transaction: gives cursors their new names. */
export function rename(cursors: State["cursors"], renamed: Iterable<[from: CursorKey, to: CursorKey]>): void {
  for (const [from, to] of renamed) {
    const cursor = cursors.get(from);
    if (cursor === undefined) continue;
    cursors.remove(from);
    if (isLater(cursor, cursors.get(to))) cursors.put(to, cursor);
  }
}
