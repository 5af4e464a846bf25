/* EventReader: a client of Server-Sent Events that reads the wire itself, as the standard says, for tests. */

import { type ClientRequest, type IncomingMessage, request } from "node:http";

export interface ServerEvent {
  id: string | undefined;
  event: string | undefined;
  data: Record<string, unknown> | undefined;
  retry: number | undefined;
  /** A block of comments alone. */
  isComment: boolean;
}

export class EventReader {
  readonly response: IncomingMessage;
  readonly #request: ClientRequest;
  readonly #events: ServerEvent[] = [];
  #text = "";
  #isEnded = false;
  #wake: (() => void) | undefined;

  /** Opens a stream. Rejects with the answer's status and error when it is none. */
  static open(url: string, headers: Record<string, string> = {}): Promise<EventReader> {
    return new Promise((resolve, reject) => {
      const asked = request(url, { agent: false, headers }, (response) => {
        if (response.headers["content-type"] === "text/event-stream") {
          resolve(new EventReader(asked, response));
          return;
        }
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("end", () => {
          const { error } = JSON.parse(text) as { error: { code: string; message: string } };
          reject(new Error(`${response.statusCode} ${error.code} ${error.message}`));
        });
      });
      asked.on("error", reject).end();
    });
  }

  private constructor(asked: ClientRequest, response: IncomingMessage) {
    this.#request = asked;
    this.response = response;
    response.setEncoding("utf8").on("data", (chunk: string) => this.#take(chunk));
    response.on("error", () => {}); // `close` follows
    response.on("close", () => {
      this.#isEnded = true;
      this.#wake?.();
    });
  }

  /** The next block; undefined at the end. */
  async next(): Promise<ServerEvent | undefined> {
    while (this.#events.length === 0 && !this.#isEnded) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#events.shift();
  }

  /** The next blocks of these kinds, as many as are named; those of others between them are left out. */
  async expect(...kinds: string[]): Promise<ServerEvent[]> {
    const found: ServerEvent[] = [];
    for (const kind of kinds) {
      for (;;) {
        const event = await this.next();
        if (event === undefined) throw new Error(`the stream ended before ${kind}`);
        if (event.event !== kind) continue;
        found.push(event);
        break;
      }
    }
    return found;
  }

  close(): void {
    this.#request.destroy();
  }

  #take(chunk: string): void {
    const blocks = (this.#text + chunk).split("\n\n");
    this.#text = blocks.pop()!;
    for (const block of blocks) this.#events.push(eventOf(block));
    this.#wake?.();
  }
}

function eventOf(block: string): ServerEvent {
  const fields = new Map<string, string>();
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    fields.set(line.slice(0, colon), line.slice(colon + 1).replace(/^ /, ""));
  }
  const data = fields.get("data");
  const retry = fields.get("retry");
  return {
    id: fields.get("id"),
    event: fields.get("event"),
    data: data === undefined ? undefined : (JSON.parse(data) as Record<string, unknown>),
    retry: retry === undefined ? undefined : Number(retry),
    isComment: [...fields.keys()].every((name) => name === ""),
  };
}
