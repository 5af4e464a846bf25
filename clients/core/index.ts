/* The SDK's surface, the same in Node.js and browsers; each adds its own `connect`. */

export {
  Client,
  type CursorOptions,
  type PostOptions,
  type ReadOptions,
  type RequestOp,
  type UsersOptions,
} from "./client.ts";
export { compareCursors } from "./cursors.ts";
export { ConnectionError, type ConnectionErrorCode } from "./errors.ts";
export type { ClientEvents, Disconnect } from "./events.ts";
export { clientLimits } from "./limits.ts";
export type { ActAs, ConnectOptions, RateLimitOptions, StreamOptions } from "./options.ts";
export type { AbortSignalLike } from "./platform.ts";
export type { Stream } from "./stream.ts";
export { closeCodes, mayComeBack } from "../../protocol/close.ts";
export type { CodecName } from "../../protocol/codec.ts";
export { type ErrorCode, type ErrorDetails, WhalesongError } from "../../protocol/errors.ts";
export type {
  CursorEvent,
  DeleteEvent,
  FieldsOf,
  Filter,
  LiveEvent,
  Op,
  Post,
  PostEvent,
  Relation,
  RepostEvent,
  ResultOf,
  StreamEvent,
  StreamItem,
} from "../../protocol/schemas.ts";
