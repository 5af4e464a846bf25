/* The state, as the rest of the broker sees it. */

export type { Outcome } from "./apply.ts";
export { type Offset, type UserNo, maxOffset } from "./bytes.ts";
export type { Command, Stamped } from "./commands.ts";
export {
  type Cursor,
  CursorError,
  type CursorKey,
  cursorKey,
  isLater,
  maxCursorKeyBytes,
  provisional,
} from "./cursors.ts";
export {
  type Content,
  type DeleteEntry,
  type Entry,
  type FollowEntry,
  type ForgottenEntry,
  type PostEntry,
  type Reply,
  type RepostEntry,
  unpackContent,
} from "./entries.ts";
export { isForWantOfRoom, type StoreSize } from "./environment.ts";
export { type Walk, copyStore, readyStore, walkStore } from "./copies.ts";
export { draftOpening } from "./opening.ts";
export { syncFile, syncFolder } from "./sync.ts";
export { findHolder } from "./folder-lock.ts";
export { checkStoreFile } from "./store-file.ts";
export { FolderError, fileMode, folderMode, storeFile } from "./folder.ts";
export { type FolderReport, inspectDataFolder, lockFolder, refuseFolderInUse } from "./folder-lock.ts";
export { type StoreReport, inspectStore } from "./inspect.ts";
export type { FollowList } from "./follows.ts";
export { type ClockRecord, type ClusterMark, type WriterMark, formatVersion } from "./meta.ts";
export { publishKeyLifeMs } from "./publish-keys.ts";
export { ReaderIdError, refuseTakenReaderId, whenReaderIdIsFree } from "./reader-id.ts";
export { RecentMap } from "./recent-map.ts";
export { State } from "./state.ts";
export {
  authorTopic,
  mentionTopic,
  retractedTopic,
  tagTopic,
  threadTopic,
  type TopicPrefix,
} from "./topics.ts";
