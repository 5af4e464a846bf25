/* Expectation: what a reader must receive, worked out from what was published and who follows whom.
 *
 * Written against the rules of `home` and `mentions`, not against the broker: it shares no code with it, and does
 * not care about speed. An entry is what one published command became; users are numbers.
 *
 * The home of a reader holds
 *   - posts of those the reader follows, and the reader's own;
 *   - of replies by those followed: the ones to a user the reader follows, to the reader, by an author to their own
 *     post, or in a conversation that their author began;
 *   - reposts by those followed and by the reader, unless the original is among the 40 candidates before it. Candidates are
 *     all entries of that home by the rules above, the reposts so hidden among them. */

/** How far back a home looks for an original before it shows a repost of it, in candidates. */
export const repostWindow = 40;

interface EntryBase {
  /** The post's id; of a repost, its own. */
  id: string;
  cursor: string;
  author: number;
}
export interface PostEntry extends EntryBase {
  kind: "post";
  /** Whom the text mentions. */
  mentioned?: number;
  /** The post this answers. */
  replyTo?: PostEntry;
}
export interface RepostEntry extends EntryBase {
  kind: "repost";
  original: PostEntry;
}
export type Entry = PostEntry | RepostEntry;

export interface Reader {
  user: number;
  following: ReadonlySet<number>;
}

/** What the reader's home delivers of `entries`, in their order, which is the log's. */
export function expectHome(reader: Reader, entries: Iterable<Entry>): Entry[] {
  const shown: Entry[] = [];
  const recent: PostEntry[] = [];
  for (const entry of entries) {
    if (!isCandidate(reader, entry)) continue;
    const original = entry.kind === "post" ? entry : entry.original;
    if (entry.kind === "post" || !recent.includes(original)) shown.push(entry);
    recent.push(original);
    if (recent.length > repostWindow) recent.shift();
  }
  return shown;
}

/** What the reader's mentions deliver of `entries`, in their order. */
export function expectMentions(reader: Reader, entries: Iterable<Entry>): Entry[] {
  const shown: Entry[] = [];
  for (const entry of entries) {
    if (entry.kind === "post" && entry.mentioned === reader.user && entry.author !== reader.user)
      shown.push(entry);
  }
  return shown;
}

function isCandidate(reader: Reader, entry: Entry): boolean {
  if (entry.author === reader.user) return true;
  if (!reader.following.has(entry.author)) return false;
  if (entry.kind === "repost" || entry.replyTo === undefined) return true;
  const to = entry.replyTo.author;
  return (
    to === reader.user ||
    to === entry.author ||
    reader.following.has(to) ||
    beginningOf(entry.replyTo).author === entry.author
  );
}

function beginningOf(post: PostEntry): PostEntry {
  let first = post;
  while (first.replyTo !== undefined) first = first.replyTo;
  return first;
}

/** The same expectations for many readers, each looking only at entries that can concern it. */
export class ExpectationIndex {
  readonly #entries: readonly Entry[];
  readonly #byAuthor = new Map<number, number[]>();
  readonly #byMentioned = new Map<number, number[]>();

  /** @param entries everything published, in the order of the log */
  constructor(entries: readonly Entry[]) {
    this.#entries = entries;
    for (const [position, entry] of entries.entries()) {
      file(this.#byAuthor, entry.author, position);
      if (entry.kind === "post" && entry.mentioned !== undefined) {
        file(this.#byMentioned, entry.mentioned, position);
      }
    }
  }

  home(reader: Reader): Entry[] {
    const authors = new Set(reader.following).add(reader.user);
    const positions = [...authors].flatMap((author) => this.#byAuthor.get(author) ?? []);
    return expectHome(reader, this.#at(positions));
  }

  mentions(reader: Reader): Entry[] {
    return expectMentions(reader, this.#at(this.#byMentioned.get(reader.user) ?? []));
  }

  *#at(positions: number[]): Generator<Entry, void, undefined> {
    for (const position of positions.sort((a, b) => a - b)) {
      const entry = this.#entries[position];
      if (entry !== undefined) yield entry;
    }
  }
}

function file(index: Map<number, number[]>, user: number, position: number): void {
  const positions = index.get(user);
  if (positions === undefined) index.set(user, [position]);
  else positions.push(position);
}

/** What a stream delivered, as it came. */
export interface Delivery {
  cursor: string;
  /** `post ID` or `repost ID`. */
  what: string;
}

export interface Faults {
  /** Expected, and never came. */
  missing: number;
  /** Came again. */
  repeated: number;
  /** Came after something that follows it in the log. */
  outOfOrder: number;
  /** Came though it should not have, or as something else than was published. */
  unexpected: number;
}

/** Compares what came with what should have. */
export function compare(expected: readonly Entry[], received: Iterable<Delivery>): Faults {
  const positions = new Map(expected.map((entry, position) => [entry.cursor, position]));
  const faults: Faults = { missing: 0, repeated: 0, outOfOrder: 0, unexpected: 0 };
  const seen = new Set<number>();
  let furthest = -1;
  for (const { cursor, what } of received) {
    const position = positions.get(cursor);
    const entry = position === undefined ? undefined : expected[position];
    if (position === undefined || entry === undefined || what !== `${entry.kind} ${entry.id}`) {
      faults.unexpected++;
    } else if (seen.has(position)) {
      faults.repeated++;
    } else {
      seen.add(position);
      if (position < furthest) faults.outOfOrder++;
      furthest = Math.max(furthest, position);
    }
  }
  faults.missing = expected.length - seen.size;
  return faults;
}

/** The sum of faults. */
export function addFaults(a: Faults, b: Faults): Faults {
  return {
    missing: a.missing + b.missing,
    repeated: a.repeated + b.repeated,
    outOfOrder: a.outOfOrder + b.outOfOrder,
    unexpected: a.unexpected + b.unexpected,
  };
}
