/* Levels: what `apply` makes of a command depends on the command, the state, and the level, which is part of the state.
 *
 * Nodes of two versions apply the same log. So a version that makes something else of a command than the one before, be it a mended fault,
 * has a new level, and makes it only from the offset on at which the command `level` has raised the store's: at the same offset on
 * every node. A store below that is applied as the version made it that first had its level, to the byte.
 *
 *   level   since    batch   layout
 *   1       0.1.0    2       2        names are folded, limits and lifetimes known, by whoever applies
 *   2       0.2.0    3       3        commands carry all of that; durable cursors name users by number
 *
 * `batch` is the number with which a batch of the log is stamped whose commands need the level (cluster/batch.ts), `layout` that of a
 * store that has it (`format` in meta.ts). A version refuses what is greater than it knows. */

export type Level = 1 | 2;

/** Of stores and logs of 0.1.0, which do not say so. */
export const oldestLevel: Level = 1;
/** The greatest that this version reads. */
export const newestLevel: Level = 2;

/** The layout of a store that has this level. */
export function layoutOf(level: Level): number {
  return level + 1;
}

/** With which number a batch is stamped that needs this level. */
export function stampOf(level: Level): number {
  return level + 1;
}

/** What a batch stamped so needs. Stamp 1 is of a version before 0.1.0, which dropped no users. */
export function levelOfStamp(stamp: number): Level {
  return Math.max(oldestLevel, stamp - 1) as Level;
}
