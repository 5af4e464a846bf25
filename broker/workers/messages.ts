/* Messages: what the broker's first process and its workers say to each other. Arrays, a word first.
 *
 * Sockets of new connections travel beside, by the pipe that `fork` makes. */

import type { ErrorBody } from "../../protocol/index.ts";
import type { Figures } from "../metrics.ts";
import type { BrokerOptions } from "../options.ts";
import type { Command, Cursor, CursorKey, Offset } from "../state/index.ts";

/** Where a worker finds the channel among its open files. */
export const channelFd = 4;

/** The asker's own number of something that it waits for: over 0 for a worker's commands, below for its questions. */
export type Ticket = number;

/** What a worker asks, and what it is answered. */
export interface Questions {
  cursor: { asked: CursorKey; answered: Cursor | null };
  /** How far all is durable, once it is as far as the offset or is not going to be soon. */
  reach: { asked: Offset; answered: Offset };
  /** Something that is no command counts against this user's rate as if it were one. */
  take: { asked: string; answered: null };
  /** All cursors acknowledged or sought before are on disk, the one named for certain. */
  flush: { asked: CursorKey | null; answered: null };
  /** Why the broker does not serve. */
  readiness: { asked: null; answered: string | null };
  /** The whole broker's metrics as text. */
  metrics: { asked: null; answered: string };
}

export type FromWorker =
  /** It has the store open and has taken all up to the offset as its beginning. */
  | ["opened", Offset]
  /** It takes connections. */
  | ["serving"]
  /** `bytes`: what counts against its user's rate of bytes; null when the user is not rated. */
  | ["append", Ticket, Command, bytes: number | null]
  /** A read of a user's has cost so many look-ups. */
  | ["spent", user: string, lookups: number]
  | ["acknowledge", CursorKey, Offset, generation: number]
  | ["begin", CursorKey, Offset]
  | ["seek", CursorKey, Offset]
  | ["ask", Ticket, keyof Questions, Questions[keyof Questions]["asked"]]
  | ["figures", Ticket, Figures]
  /** How far it has heard, whether its fan-out is behind, and how many connections have ended since it said so before. */
  | ["standing", heard: Offset, isBehind: boolean, ended: number]
  /** It could not begin. */
  | ["failed", message: string];

/** A command's outcome once it is durable; `refusal` when it was applied and came to nothing. */
export type Settled = [Ticket, offset: Offset, answer: Offset, refusal?: ErrorBody];

export type ToWorker =
  | ["start", number: number, BrokerOptions]
  /** All up to the offset is durable; these are outcomes of its commands up to there, in order. */
  | ["durable", Offset, Settled[]]
  /** A command was not taken, or a question could not be answered. */
  | ["refused", Ticket, ErrorBody]
  | ["answer", Ticket, Questions[keyof Questions]["answered"]]
  /** A user has read too much, here or at another worker, and is to read no more for so long. */
  | ["hold", user: string, ms: number]
  | ["tell figures", Ticket]
  | ["say hello"]
  | ["drain", ms: number];
