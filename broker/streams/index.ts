/* Streams, as the rest of the broker sees them. */

export { type EventEncoder, type Frame, Delivery } from "./delivery.ts";
export { Flusher, type Mark } from "./flusher.ts";
export type { Page } from "./pages.ts";
export type { Stream } from "./stream.ts";
export { Streams } from "./streams.ts";
export { type Sink, Subscription } from "./subscription.ts";
