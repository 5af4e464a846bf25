/* Model: the whole broker as a few arrays, and filters over them. No index, no cache, no order but that of offsets.
 *
 * The oracle of the model test. It knows the rules and nothing of how the broker follows them; offsets it is told, since
 * how many commands lie between two entries is the broker's business.
 *
 * Most of what a stream shows is certain. Some is not, because it depends on when the broker looked, and then both
 * outcomes are right; an expectation says which:
 *
 *  - A post deleted (or a repost withdrawn) at about the time it is delivered may still be shown, or not any more. "About
 *    the time" is the round in which the delete was published (see world.ts): `roundStart` is the head before it.
 *  - The delete of a post concerns the followers of who reposted it, unless that repost is withdrawn by then.
 *  - A delete whose author (or reposter) the reader follows since later may be told: it takes back nothing they have.
 *  - A repost is hidden when its original is among the 40 candidates before it. Who was followed when those passed, or who
 *    is now? A live stream remembers, one resumed cannot. So it is certain only where both give the same answer, and where
 *    no candidate it rests on was trimmed. */

export type Name = string;

export interface PostEntry {
  kind: "post";
  offset: number;
  author: Name;
  text: string;
  /** Without the author, none twice. */
  mentions: Name[];
  tags: string[];
  data: unknown;
  replyTo: PostEntry | undefined;
  /** When it was deleted. */
  deletedAt: number | undefined;
}
export interface RepostEntry {
  kind: "repost";
  offset: number;
  author: Name;
  original: PostEntry;
  deletedAt: number | undefined;
}
export interface DeleteEntry {
  kind: "delete";
  offset: number;
  author: Name;
  target: PostEntry | RepostEntry;
}
export type Entry = PostEntry | RepostEntry | DeleteEntry;

interface Follow {
  follower: Name;
  followee: Name;
  /** The head when it began, and when it ended. Nothing is published meanwhile, so entries lie clearly on one side. */
  since: number;
  until: number | undefined;
}

export type Stream =
  | { kind: "home"; reader: Name; replies?: "all" | "followed" | "none" }
  | {
      kind: "mentions";
      reader: Name;
      from?: "everyone" | "following" | "followers" | "mutuals" | "strangers";
    }
  | { kind: "user"; user: Name }
  | { kind: "tag"; tag: string }
  | { kind: "thread"; root: number }
  | { kind: "firehose" };

export interface Expected {
  entry: Entry;
  isCertain: boolean;
}

type Answer = "yes" | "maybe" | "no";

const recentCandidates = 40;

export class Model {
  readonly entries: Entry[] = [];
  readonly follows: Follow[] = [];
  floor = 0;
  /** The head before the round that is going on: deletes after it may have raced with delivery. */
  roundStart = 0;

  get head(): number {
    return this.entries.at(-1)?.offset ?? 0;
  }

  add(entry: Entry): void {
    if (entry.offset <= this.head) throw new Error(`the model was given ${entry.offset} after ${this.head}`);
    this.entries.push(entry);
    if (entry.kind === "delete") entry.target.deletedAt = entry.offset;
  }

  follow(follower: Name, followee: Name): void {
    if (this.isFollowing(follower, followee)) return;
    this.follows.push({ follower, followee, since: this.head, until: undefined });
  }

  unfollow(follower: Name, followee: Name): void {
    const follow = this.follows.find((f) => isOf(f, follower, followee) && f.until === undefined);
    if (follow !== undefined) follow.until = this.head;
  }

  isFollowing(follower: Name, followee: Name): boolean {
    return this.follows.some((f) => isOf(f, follower, followee) && f.until === undefined);
  }

  followees(follower: Name): Name[] {
    return this.follows
      .filter((f) => f.follower === follower && f.until === undefined)
      .map((f) => f.followee);
  }

  followers(followee: Name): Name[] {
    return this.follows
      .filter((f) => f.followee === followee && f.until === undefined)
      .map((f) => f.follower);
  }

  /** Entries that are there: not trimmed. */
  kept(): Entry[] {
    return this.entries.filter(({ offset }) => offset > this.floor);
  }

  /** Whether an entry that is there refers to `user`, so that who keeps nothing is a user. */
  knows(user: Name): boolean {
    return this.kept().some((entry) => {
      if (entry.author === user) return true;
      if (entry.kind === "repost") return entry.original.author === user;
      if (entry.kind === "delete") return postOf(entry)?.mentions.includes(user) === true;
      if (entry.deletedAt === undefined && entry.mentions.includes(user)) return true;
      return entry.replyTo?.author === user || rootOf(entry).author === user;
    });
  }

  /** What is pushed of `stream` in (`after`, `upTo`]. */
  pushed(stream: Stream, after: number, upTo: number): Expected[] {
    const expected: Expected[] = [];
    for (const entry of this.kept()) {
      if (entry.offset <= after || entry.offset > upTo) continue;
      const answer = least(this.#isPushed(stream, entry), this.#isThere(entry));
      if (answer !== "no") expected.push({ entry, isCertain: answer === "yes" });
    }
    return expected;
  }

  /** The whole stream as pages show it: under the present relations, also what is older than a follow. */
  listed(stream: Stream): Entry[] {
    if (stream.kind !== "home") {
      return this.kept().filter((e) => this.#isThere(e) === "yes" && this.#isPushed(stream, e) === "yes");
    }
    const listed: Entry[] = [];
    const candidates: Entry[] = [];
    for (const entry of this.kept()) {
      if (entry.kind === "delete") {
        if (this.#isDeleteInHome(stream.reader, entry) !== "no") listed.push(entry);
        continue;
      }
      if (!this.#isMine(stream.reader, entry.author) || !this.#showsReply(stream, entry)) continue;
      const before = candidates.slice(-recentCandidates);
      const isNews = entry.kind === "post" || !before.some((e) => originalOf(e) === entry.original);
      if (isNews && this.#isThere(entry) === "yes") listed.push(entry);
      candidates.push(entry);
    }
    return listed;
  }

  relation(reader: Name, author: Name): "following" | "follower" | "mutual" | "stranger" {
    const follows = this.isFollowing(reader, author);
    const followedBy = this.isFollowing(author, reader);
    if (follows) return followedBy ? "mutual" : "following";
    return followedBy ? "follower" : "stranger";
  }

  /** Whether a post or repost has not been deleted, nor the original of the repost deleted or trimmed. */
  #isThere(entry: Entry): Answer {
    if (entry.kind === "delete") return "yes";
    const post = entry.kind === "repost" ? entry.original : entry;
    if (post.offset <= this.floor) return "no";
    const deletes = [entry.deletedAt, post.deletedAt].filter((at) => at !== undefined);
    if (deletes.length === 0) return "yes";
    return deletes.every((at) => at > this.roundStart) ? "maybe" : "no";
  }

  #isPushed(stream: Stream, entry: Entry): Answer {
    switch (stream.kind) {
      case "home":
        return entry.kind === "delete"
          ? this.#isDeleteInHome(stream.reader, entry)
          : this.#isInHome(stream, entry);
      case "mentions": {
        const post = postOf(entry);
        if (post === undefined || !post.mentions.includes(stream.reader)) return "no";
        return yesIf(entry.kind === "delete" || this.#isFrom(stream, entry.author));
      }
      case "user":
        if (entry.author === stream.user) return "yes";
        return entry.kind === "delete" ? this.#isReposter(stream.user, entry) : "no";
      case "tag":
        return yesIf(postOf(entry)?.tags.some((tag) => tag.toLowerCase() === stream.tag) === true);
      case "thread": {
        const post = postOf(entry);
        return yesIf(post !== undefined && rootOf(post).offset === stream.root);
      }
      case "firehose":
        return "yes";
    }
  }

  /** Posts and reposts of those followed since before, and mine. */
  #isInHome(stream: Stream & { kind: "home" }, entry: PostEntry | RepostEntry): Answer {
    if (!this.#wasMine(stream.reader, entry).is || !this.#showsReply(stream, entry)) return "no";
    return entry.kind === "post" ? "yes" : this.#isNews(stream, entry);
  }

  /** Whether the original of `repost` is not among the 40 candidates before it. */
  #isNews(stream: Stream & { kind: "home" }, repost: RepostEntry): Answer {
    let certainBetween = 0;
    let possibleBetween = 0;
    let isMaybe = false;
    for (const entry of this.entries.filter((e) => e.offset < repost.offset).toReversed()) {
      if (entry.kind === "delete") continue;
      const candidate = this.#wasCandidate(stream, entry);
      if (candidate === "no") continue;
      if (originalOf(entry) === repost.original) {
        if (candidate === "yes" && possibleBetween < recentCandidates) return "no";
        isMaybe = true;
      }
      possibleBetween++;
      if (candidate === "yes") certainBetween++;
      if (certainBetween === recentCandidates) break;
    }
    return isMaybe ? "maybe" : "yes";
  }

  /** Whether a past entry is a candidate by the relations then and by those now. */
  #wasCandidate(stream: Stream & { kind: "home" }, entry: PostEntry | RepostEntry): Answer {
    const mine = this.#wasMine(stream.reader, entry);
    const reply = this.#showedReply(stream, entry);
    if (!mine.was || reply === "no") return "no";
    return mine.is && reply === "yes" && entry.offset > this.floor ? "yes" : "maybe";
  }

  /** Whether `reader` followed the author (or was them) when the entry came, and has not ceased to. */
  #wasMine(reader: Name, { author, offset }: Entry): { was: boolean; is: boolean } {
    if (author === reader) return { was: true, is: true };
    const follows = this.follows.filter((f) => isOf(f, reader, author) && f.since < offset);
    return {
      was: follows.some((f) => f.until === undefined || f.until >= offset),
      is: follows.some((f) => f.until === undefined),
    };
  }

  #isMine(reader: Name, author: Name): boolean {
    return author === reader || this.isFollowing(reader, author);
  }

  /** The rule for replies, under the present relations. */
  #showsReply({ reader, replies }: Stream & { kind: "home" }, entry: PostEntry | RepostEntry): boolean {
    if (entry.kind === "repost" || entry.replyTo === undefined || entry.author === reader) return true;
    if (replies === "all") return true;
    if (replies === "none") return false;
    const parent = entry.replyTo.author;
    if (parent === reader || parent === entry.author || rootOf(entry).author === entry.author) return true;
    return this.isFollowing(reader, parent);
  }

  /** The same, where the relations may have changed since the entry. */
  #showedReply(stream: Stream & { kind: "home" }, entry: PostEntry | RepostEntry): Answer {
    if (entry.kind === "repost" || entry.replyTo === undefined) return "yes";
    const { reader, replies } = stream;
    const parent = entry.replyTo.author;
    const isByRelation =
      (replies ?? "followed") === "followed" &&
      entry.author !== reader &&
      ![reader, entry.author].includes(parent) &&
      rootOf(entry).author !== entry.author;
    if (!isByRelation) return yesIf(this.#showsReply(stream, entry));
    const follows = this.follows.filter((f) => isOf(f, reader, parent));
    if (!follows.some((f) => f.until === undefined || f.until >= entry.offset)) return "no";
    return follows.some((f) => f.since < entry.offset && f.until === undefined) ? "yes" : "maybe";
  }

  /** The delete of a post concerns who follows (or is) its author, or one who had reposted it. */
  #isDeleteInHome(reader: Name, entry: DeleteEntry): Answer {
    const answers: Answer[] = [this.#isToldOf(reader, entry.author, entry)];
    const told = this.entries.filter(
      (e): e is RepostEntry => e.kind === "repost" && e.original === entry.target,
    );
    for (const author of new Set(told.map((e) => e.author))) {
      answers.push(least(this.#isReposter(author, entry), this.#isToldOf(reader, author, entry)));
    }
    return most(answers);
  }

  #isToldOf(reader: Name, author: Name, entry: DeleteEntry): Answer {
    if (this.#wasMine(reader, { ...entry, author }).is) return "yes";
    return this.#isMine(reader, author) ? "maybe" : "no";
  }

  /** Whether `user` had reposted what `entry` deletes, and has not withdrawn it. */
  #isReposter(user: Name, entry: DeleteEntry): Answer {
    const answers = this.kept().map((repost): Answer => {
      if (repost.kind !== "repost" || repost.author !== user || repost.original !== entry.target) return "no";
      if (repost.offset > entry.offset) return "no";
      if (repost.deletedAt === undefined) return "yes";
      return repost.deletedAt > entry.offset && repost.deletedAt > this.roundStart ? "maybe" : "no";
    });
    return most(answers);
  }

  #isFrom({ reader, from }: Stream & { kind: "mentions" }, author: Name): boolean {
    const follows = this.isFollowing(reader, author);
    const followedBy = this.isFollowing(author, reader);
    switch (from) {
      case "following":
        return follows;
      case "followers":
        return followedBy;
      case "mutuals":
        return follows && followedBy;
      case "strangers":
        return !follows && !followedBy;
      default:
        return true;
    }
  }
}

export function originalOf(entry: Entry): PostEntry | undefined {
  if (entry.kind === "delete") return undefined;
  return entry.kind === "repost" ? entry.original : entry;
}

export function rootOf(post: PostEntry): PostEntry {
  return post.replyTo === undefined ? post : rootOf(post.replyTo);
}

/** The post whose mentions, tags and thread file an entry: its own, or of the post it deletes. */
function postOf(entry: Entry): PostEntry | undefined {
  if (entry.kind === "post") return entry;
  return entry.kind === "delete" && entry.target.kind === "post" ? entry.target : undefined;
}

function isOf(follow: Follow, follower: Name, followee: Name): boolean {
  return follow.follower === follower && follow.followee === followee;
}

function yesIf(condition: boolean): Answer {
  return condition ? "yes" : "no";
}

function least(...answers: Answer[]): Answer {
  if (answers.includes("no")) return "no";
  return answers.includes("maybe") ? "maybe" : "yes";
}

function most(answers: Answer[]): Answer {
  if (answers.includes("yes")) return "yes";
  return answers.includes("maybe") ? "maybe" : "no";
}
