/* Dialect: how a target is spoken to, as bytes on connections: WebSocket, RESP, MQTT, whatever it is.
 *
 *   reader      connect ─► send, wait for these bytes ─► send, wait for these bytes ─► ready     messages come any time
 *   publisher   the same, then one buffer for each publish; answers where the target gives them
 *
 * Messages need no dialect: every payload begins with a stamp (stamp.ts) which readers find in the stream, whatever is
 * wrapped around it. So a payload must arrive as it was published, not encoded or cut in two by framing: only ASCII
 * that JSON leaves alone is sent. Where a target compresses, the script brings what undoes that. Names should all have the same length (`fixedName`): then frames have it
 * too, and a stamp is found where the one before lets expect it.
 *
 * A dialect lives in the load processes. They are told its module and options, and import it themselves:
 *
 *     export function createDialect(options: Options): Dialect */

export interface DialectRef {
  /** Path below bench/, without its ending: "targets/whalesong-dialect". The module exports `createDialect`. */
  module: string;
  /** For `createDialect`; plain data. */
  options: unknown;
  /** What posts say: `words` that come round, or `prose`, which compresses as what people write does. @default "words" */
  texts?: "words" | "prose";
}

export interface Dialect {
  readonly address: Address;
  /** What a reader says until it gets the messages of its topics. */
  reader(request: ReaderRequest): Script;
  /** What a publisher's connection says until it can publish, and how it publishes. */
  publisher(connection: number): PublisherScript;
  /** One lasting follow, sent on a publisher's connection and answered there. Only with the ability `follows`. */
  follow?(follow: { reader: number; topic: number; id: number }): Buffer;
}

export interface Address {
  host: string;
  port: number;
  /** Name of the server for TLS; plain TCP without. */
  tls?: boolean;
}

export interface ReaderRequest {
  reader: number;
  /** Whose session it is, as a reader's number: several sessions can be one user's. @default the reader's own */
  user?: number;
  /** The topics it reads; with the ability `follows` they are followed already. */
  topics: Uint32Array;
  /** `resume`: what it missed since it was there last comes first. @default "live" */
  from?: "live" | "resume";
  /** `mentions`: what mentions the reader, instead of its topics' messages. @default "home" */
  stream?: "home" | "mentions";
}

export interface Step {
  send: Buffer;
  /** Bytes that the target's answer holds. */
  until: Buffer;
  /** Bytes that say that it will not come. */
  refusal?: Buffer;
  /** What it means then, for people. @default "the target refused" */
  whenRefused?: string;
}

export interface Script {
  /** One at least. While the last one waits messages may come already. */
  steps: Step[];
  /** Made for each connection, where messages do not come as they were published. Told all that comes from the last step on. */
  decoder?: () => Decoder;
  /** Sent now and then unasked, instead of answers to pings; the same buffer for all connections saves memory. */
  keepAlive?: { send: Buffer; everyMs: number };
  /** Where this connection goes. @default the dialect's address */
  address?: Address;
}

/** Hands on each payload that `bytes` complete, as it was published. State between chunks is its own. */
export type Decoder = (bytes: Buffer, take: (payload: Buffer) => void) => void;

export interface PublisherScript extends Script {
  /** The bytes that publish `payload` to a topic. `id` counts the requests of this connection from 1. */
  publish(publish: { topic: number; payload: string; id: number }): Buffer;
  /** Finds answers in what comes, for targets that give them: told every chunk, in order. */
  answers?: AnswerReader;
}

/** Tells each answer that `bytes` complete. State between chunks is its own: one for each connection. */
export type AnswerReader = (bytes: Buffer, take: (id: number, refusal?: string) => void) => void;

/** `a000042`: names of one length. */
export function fixedName(prefix: string, number: number, digits = 7): string {
  return `${prefix}${String(number).padStart(digits, "0")}`;
}
