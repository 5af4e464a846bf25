/* Sessions, as transports and the broker see them. */

export type { Authenticator, Credentials } from "./authenticator.ts";
export type { Connection, MessageEncoder } from "./connection.ts";
export { Complaints } from "./complaints.ts";
export { CursorKeeper, type Cursors, type KeptCursors, cursorComplaints } from "./cursor-keeper.ts";
export { type Intake, LocalIntake, isRated } from "./intake.ts";
export { Operations, type StatelessOp, defaultDevice } from "./operations.ts";
export { type Principal, type Scope, requireScope, scopes } from "./principal.ts";
export { Rates, type UserRates, commandsIn, readTooMuch } from "./rates.ts";
export { Session } from "./session.ts";
export { type SessionServices, Sessions } from "./sessions.ts";
export { type Rate, TokenBucket, weightOf } from "./token-bucket.ts";
