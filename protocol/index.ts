/* The protocol: what broker and clients agree on. PROTOCOL.md says it in words. */

export * from "./close.ts";
export * from "./codec.ts";
export * from "./errors.ts";
export * from "./limits.ts";
export * from "./names.ts";
export * from "./schemas.ts";
export * from "./text.ts";
export * from "./validate.ts";
