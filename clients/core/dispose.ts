/// <reference lib="esnext.disposable" preserve="true" />
/* Symbol.asyncDispose, also where the engine does not have it yet. */

export const asyncDispose: typeof Symbol.asyncDispose =
  (Symbol as { asyncDispose?: typeof Symbol.asyncDispose }).asyncDispose ??
  (Symbol.for("Symbol.asyncDispose") as typeof Symbol.asyncDispose);
