/* Neighbour: somebody who behaves, beside others who do not. Posts at one end of a broker, reads at the other, and acknowledges. */

import type { Test } from "tap";

import { type Inbox, type Message, SessionClient } from "../sessions/session-client.ts";
import type { Place } from "./places.ts";

export class Neighbour {
  readonly #writer: SessionClient;
  readonly #reader: SessionClient;
  readonly #inbox: Inbox;

  static async of({ urls }: Place): Promise<Neighbour> {
    const writer = await SessionClient.open(urls[0]!, { user: "alice" });
    const reader = await SessionClient.open(urls.at(-1)!, { user: "bob", device: "phone", codec: "msgpack" });
    return new Neighbour(writer, reader, await reader.subscribeLive("user:alice"));
  }

  private constructor(writer: SessionClient, reader: SessionClient, inbox: Inbox) {
    this.#writer = writer;
    this.#reader = reader;
    this.#inbox = inbox;
  }

  /** A post is answered and delivered, and how far it was read is on disk. */
  async check(t: Test): Promise<void> {
    const { events, sub } = this.#inbox;
    const { id } = await this.#writer.request("post", { text: "as ever" });
    const isIt = (event: Message): boolean => (event["post"] as Message | undefined)?.["id"] === id;
    await this.#reader.until(() => events.some(isIt));
    const { cursor } = events.find(isIt)!;
    await this.#reader.request("ack", { sub, cursor });
    const kept = await this.#reader.request("cursor", { stream: "user:alice" });
    t.equal(kept["cursor"], cursor);
  }
}
