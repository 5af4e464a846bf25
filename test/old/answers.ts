/* Answers: what a broker says of a folder when it is asked by HTTP, kept to be compared with what another broker says of the same folder.
 *
 * What a broker says in the same words each time is kept: streams in pages both ways, posts, relations, durable cursors. Of a refusal
 * its status and code are kept, since messages may change. An event that stands in several pages is kept once.
 *
 * A position behind the newest entry is kept as "end": it grows with commands that no stream shows. */

import { readFileSync } from "node:fs";

import { type Stream, WhalesongError, connect } from "../../clients/node/index.ts";
import { offsetOf } from "../sessions/session-client.ts";

/** One question, a path with its query, and its answer. */
export interface Answer {
  path: string;
  status: number;
  /** The body; of a refusal its code. */
  answer: unknown;
}

/** A publish under a key that was answered before, asked again: the answer must be the first one's. */
export interface Keyed {
  user: string;
  body: { text: string; key: string; replyTo?: string };
  answer: { id: string; cursor: string };
}

/** A durable cursor, and what its stream brings from there on. */
export interface Resumed {
  user: string;
  device: string;
  stream: string;
  cursor: string;
  /** Events behind it up to the newest, as numbers of `items`; or the code of the error that the stream ended with. */
  events: number[] | string;
}

/** All that is kept of a folder. */
export interface Account {
  version: string;
  /** When it was written, in ms since the Unix epoch: publish keys were in force then. */
  at: number;
  epoch: string;
  /** The offset of the newest command. */
  head: number;
  /** Entries up to it are gone. */
  floor: number;
  digest: string;
  /** Events of streams; pages name them by their number here. */
  items: unknown[];
  answers: Answer[];
  /** Answers that hold as long as publish keys are in force. */
  whileKeyed: Answer[];
  keyed: Keyed[];
  resumed: Resumed[];
}

/** What 0.1.0 said of `folder-0.1.0`. */
export function accountOfOld(): Account {
  return JSON.parse(readFileSync(new URL("folder-0.1.0.json", import.meta.url), "utf8")) as Account;
}

interface Page {
  items: unknown[];
  before?: string;
  after?: string;
}

/** Asks a broker, and writes down what it says. */
export class Asking {
  readonly items: unknown[] = [];
  readonly #url: string;
  readonly #head: number;
  readonly #numbers = new Map<string, number>();

  /** `head` is the offset of the newest command of the folder as it was written. */
  constructor(url: string, head: number) {
    this.#url = url;
    this.#head = head;
  }

  async ask(path: string): Promise<Answer> {
    const response = await fetch(`${this.#url}${path}`);
    const { status } = response;
    const body = (await response.json()) as Page & { error?: { code: string } };
    if (body.error !== undefined) return { path, status, answer: body.error.code };
    return { path, status, answer: isPage(body) ? this.#brief(body) : body };
  }

  /** All pages from the newest back, and all from `floor` on. */
  async stream(path: string, limit: number, floor: string): Promise<Answer[]> {
    const answers: Answer[] = [];
    const read = async (query: string): Promise<Partial<Page>> => {
      const answer = await this.ask(`${path}&limit=${limit}${query}`);
      answers.push(answer);
      return answer.status === 200 ? (answer.answer as Page) : {};
    };
    let page = await read("");
    while (page.before !== undefined) page = await read(`&before=${page.before}`);
    page = await read(`&after=${floor}`);
    while (page.after !== undefined && page.after !== "end") page = await read(`&after=${page.after}`);
    return answers;
  }

  /** The number of an event. */
  numberOf(item: unknown): number {
    const text = JSON.stringify(item);
    const known = this.#numbers.get(text);
    if (known !== undefined) return known;
    this.#numbers.set(text, this.items.length);
    return this.items.push(item) - 1;
  }

  /** What a stream brings until it is live. */
  async behind(stream: Stream): Promise<Resumed["events"]> {
    const events: number[] = [];
    try {
      for await (const event of stream) {
        if (event.event === "live") break;
        if (event.event !== "cursor") events.push(this.numberOf(event));
      }
    } catch (error) {
      if (error instanceof WhalesongError) return error.code;
      throw error;
    }
    return events;
  }

  #brief({ items, before, after }: Page): unknown {
    const isEnd = after !== undefined && offsetOf(after) >= this.#head;
    return {
      items: items.map((item) => this.numberOf(item)),
      ...(before === undefined ? {} : { before }),
      ...(after === undefined ? {} : { after: isEnd ? "end" : after }),
    };
  }
}

function isPage(body: object): body is Page {
  return "items" in body;
}

/** Questions asked at once. */
const atOnce = 16;

/** What the broker at `url` answers otherwise than `expected`, which are answers of the account; nothing when all is the same. */
export async function differences(
  url: string,
  account: Account,
  expected: readonly Answer[],
): Promise<string[]> {
  const asking = new Asking(url, account.head);
  return firstOfEach(expected, async (answer) => {
    const now = await asking.ask(answer.path);
    const [before, after] = [full(answer, account.items), full(now, asking.items)];
    return before === after ? [] : [`${decodeURIComponent(answer.path)}: was ${before}, is ${after}`];
  });
}

/** What follows each durable cursor otherwise than it did, for who resumes from it. */
export async function differencesBehindCursors(url: string, account: Account): Promise<string[]> {
  const asking = new Asking(url, account.head);
  return firstOfEach(account.resumed, async ({ user, device, stream, cursor, events }) => {
    const me = await connect(url, { user, device });
    const resumed = me.stream(stream, { ack: "manual" });
    const opening = resumed.opened.catch((error: WhalesongError) => error.code);
    const after = fullEvents(await asking.behind(resumed), asking.items);
    const opened = await opening;
    await me.close();
    const start = typeof events === "string" ? events : cursor;
    const before = fullEvents(events, account.items);
    const title = `${user}, ${device}, ${stream}`;
    return [
      ...(opened === start ? [] : [`${title}: began at ${start}, begins at ${opened}`]),
      ...(after === before ? [] : [`${title}: was ${before}, is ${after}`]),
    ];
  });
}

/** Of many differences the first say enough. */
const shown = 5;

async function firstOfEach<T>(
  items: readonly T[],
  differencesOf: (item: T) => Promise<string[]>,
): Promise<string[]> {
  const found: string[] = [];
  for (let first = 0; first < items.length && found.length < shown; first += atOnce)
    found.push(...(await Promise.all(items.slice(first, first + atOnce).map(differencesOf))).flat());
  return found.slice(0, shown);
}

function full({ status, answer }: Answer, items: readonly unknown[]): string {
  if (typeof answer !== "object" || answer === null || !isPage(answer))
    return JSON.stringify([status, answer]);
  return JSON.stringify([
    status,
    { ...answer, items: answer.items.map((number) => items[number as number]) },
  ]);
}

function fullEvents(events: Resumed["events"], items: readonly unknown[]): string {
  return JSON.stringify(typeof events === "string" ? events : events.map((number) => items[number]));
}
