/* Interest: topic → live subscriptions.
 *
 * Topics and subscriptions are nodes of one graph (links.ts). A home subscription is linked to the author node of each
 * user its reader follows, and to the reader's own; the others to one node. Connecting and disconnecting costs what one
 * follows, however many others follow the same. A home is also linked to a node of its reader's homes, which is never
 * walked for an entry: a follow made meanwhile finds them there. */

import type { DeleteEntry, Entry, Offset, PostEntry, State, UserNo } from "../state/index.ts";
import { unpackContent } from "../state/index.ts";
import { fold } from "../../protocol/index.ts";
import { Links, type Node } from "./links.ts";
import { userOf } from "./stream.ts";
import type { Subscription } from "./subscription.ts";

export class Interest {
  readonly #links: Links;
  readonly #subscriptions: (Subscription | undefined)[] = [];
  /** By user number: the node of what they author, which stays while there is the user, or 0, */
  #authors = new Uint32Array(1024);
  /** and the node of the homes they read, or 0. */
  #homes = new Uint32Array(1024);
  readonly #mentions = new Map<UserNo, Node>();
  readonly #tags = new Map<string, Node>();
  readonly #threads = new Map<Offset, Node>();
  readonly #firehose: Node;
  /** Topics whose last subscription went, not yet given back. */
  #emptied: (() => void)[] = [];

  constructor(links = new Links()) {
    this.#links = links;
    this.#firehose = links.create();
  }

  /** Links a subscription to its topics. `following` is whom a home's reader follows. Does nothing to one that is linked. */
  attach(subscription: Subscription, following: UserNo[]): void {
    if (subscription.node !== 0) return;
    const node = this.#create(subscription);
    const { stream } = subscription;
    switch (stream.kind) {
      case "home":
        this.#enterHome(subscription, stream.reader);
        this.link(subscription, following);
        break;
      case "mentions":
        this.#links.link(nodeOf(this.#links, this.#mentions, stream.reader), node);
        break;
      case "user":
        this.#links.link(this.#author(stream.user), node);
        break;
      case "tag":
        this.#links.link(nodeOf(this.#links, this.#tags, stream.tag), node);
        break;
      case "thread":
        this.#links.link(nodeOf(this.#links, this.#threads, stream.root), node);
        break;
      case "firehose":
        this.#links.link(this.#firehose, node);
        break;
    }
  }

  /**
   * Begins to link a home whose reader follows so many that it takes several turns: `link` them in the order of their
   * numbers, with `linking.after` telling how far it is, then make `linking` undefined. Who is followed or unfollowed meanwhile is
   * told by `follow` and `unfollow` as ever: what `link` is given later reflects it, and is not linked twice.
   */
  begin(subscription: Subscription): void {
    const { stream } = subscription;
    if (subscription.node !== 0 || stream.kind !== "home") return;
    this.#create(subscription);
    this.#enterHome(subscription, stream.reader);
    subscription.linking = { after: 0, told: new Set() };
  }

  /** Links a home to authors it is not linked to, but for those that `follow` told of since it began. */
  link(subscription: Subscription, authors: UserNo[]): void {
    const told = subscription.linking?.told;
    for (const author of authors) {
      if (told === undefined || !told.has(author)) this.#links.link(this.#author(author), subscription.node);
    }
  }

  detach(subscription: Subscription): void {
    const { node, stream } = subscription;
    if (node === 0) return;
    this.#links.release(node);
    this.#subscriptions[node] = undefined;
    subscription.node = 0;
    if (stream.kind === "home") {
      const home = this.#homes[stream.reader]!;
      if (this.#links.degree(home) > 0) return;
      this.#links.release(home);
      this.#homes[stream.reader] = 0;
    } else if (stream.kind === "mentions") {
      const { reader } = stream; // the stream may become another's
      this.#emptied.push(() => this.#drop(this.#mentions, reader));
    } else if (stream.kind === "tag") this.#emptied.push(() => this.#drop(this.#tags, stream.tag));
    else if (stream.kind === "thread") this.#emptied.push(() => this.#drop(this.#threads, stream.root));
  }

  /** Gives the nodes of topics that nobody reads any more back for reuse. Not while a node is being walked. */
  sweep(): void {
    if (this.#emptied.length === 0) return;
    for (const drop of this.#emptied.splice(0)) drop();
  }

  /** `reader` follows `author` from now on; said twice it changes nothing. */
  follow(reader: UserNo, author: UserNo): void {
    const home = this.#homes[reader] ?? 0;
    for (let i = this.#links.degree(home) - 1; i >= 0; i--) {
      const node = this.#links.peer(home, i);
      const authorNode = this.#author(author);
      if (this.#links.find(node, authorNode) >= 0) continue;
      this.#links.link(authorNode, node);
      this.#subscriptions[node]?.linking?.told.add(author);
    }
  }

  unfollow(reader: UserNo, author: UserNo): void {
    const home = this.#homes[reader] ?? 0;
    for (let i = this.#links.degree(home) - 1; i >= 0; i--) {
      const node = this.#links.peer(home, i);
      this.#subscriptions[node]?.linking?.told.delete(author);
      const index = this.#links.find(node, this.#author(author));
      if (index >= 0) this.#links.cut(node, index);
    }
  }

  /** The subscriptions linked whose streams are about `user`. */
  about(user: UserNo): Subscription[] {
    const found: Subscription[] = [];
    for (const node of [this.#authors[user] ?? 0, this.#mentions.get(user) ?? 0]) {
      for (let i = 0; i < this.#links.degree(node); i++) {
        const subscription = this.subscription(node, i);
        if (userOf(subscription.stream) === user) found.push(subscription);
      }
    }
    return found;
  }

  /** The number `user` is nobody's any more: its node goes as those of topics do. */
  forget(user: UserNo): void {
    if ((this.#authors[user] ?? 0) === 0) return;
    this.#emptied.push(() => {
      const node = this.#authors[user]!;
      if (node === 0 || this.#links.degree(node) > 0) return;
      this.#links.release(node);
      this.#authors[user] = 0;
    });
  }

  /**
   * The nodes to walk for an entry. Walk each from its last subscription to its first: see FanOut. The delete of a post that
   * was reposted has those of `repostersOf` besides.
   */
  nodesOf(entry: Entry): Node[] {
    const nodes: Node[] = [];
    const add = (node: Node | undefined): void => {
      if (node !== undefined && node !== 0 && this.#links.degree(node) > 0) nodes.push(node);
    };
    if (entry.kind !== "post" && entry.kind !== "repost" && entry.kind !== "delete") return nodes;
    add(this.#authors[entry.author]);
    add(this.#firehose);
    if (entry.kind === "repost") return nodes;
    const { mentions, tags, root } =
      entry.kind === "post" ? topicsOf(entry, this.#mentions.size + this.#tags.size > 0) : entry;
    for (const user of mentions) add(this.#mentions.get(user));
    for (const tag of tags) add(this.#tags.get(fold(tag)));
    if (root !== 0) add(this.#threads.get(root));
    return nodes;
  }

  /** The nodes of the next `most` who had reposted what `entry` deletes, by number from over `after` on; and where to go on. */
  repostersOf(
    state: State,
    entry: DeleteEntry,
    after: UserNo,
    most: number,
  ): { nodes: Node[]; next: UserNo | undefined } {
    const { reposters, next } = state.reposts.reposters(entry.target, after, most);
    const nodes: Node[] = [];
    for (const reposter of reposters) {
      const node = this.#authors[reposter];
      if (node !== undefined && node !== 0 && this.#links.degree(node) > 0) nodes.push(node);
    }
    return { nodes, next };
  }

  /** How many subscriptions a node has. */
  degree(node: Node): number {
    return this.#links.degree(node);
  }

  subscription(node: Node, index: number): Subscription {
    return this.#subscriptions[this.#links.peer(node, index)]!;
  }

  /** Bytes the graph holds. */
  get bytes(): number {
    return this.#links.bytes + this.#authors.byteLength + this.#homes.byteLength;
  }

  #create(subscription: Subscription): Node {
    const node = this.#links.create();
    subscription.node = node;
    this.#subscriptions[node] = subscription;
    return node;
  }

  #enterHome({ node }: Subscription, reader: UserNo): void {
    this.#links.link(this.#home(reader), node);
    this.#links.link(this.#author(reader), node);
  }

  #author(user: UserNo): Node {
    if (user >= this.#authors.length) this.#authors = withRoomFor(this.#authors, user);
    return (this.#authors[user] ||= this.#links.create());
  }

  #home(reader: UserNo): Node {
    if (reader >= this.#homes.length) this.#homes = withRoomFor(this.#homes, reader);
    return (this.#homes[reader] ||= this.#links.create());
  }

  #drop<K>(nodes: Map<K, Node>, key: K): void {
    const node = nodes.get(key);
    if (node === undefined || this.#links.degree(node) > 0) return;
    this.#links.release(node);
    nodes.delete(key);
  }
}

function withRoomFor(byUser: Uint32Array, user: UserNo): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(Math.max(user + 1, byUser.length * 2));
  larger.set(byUser);
  return larger;
}

function nodeOf<K>(links: Links, nodes: Map<K, Node>, key: K): Node {
  let node = nodes.get(key);
  if (node === undefined) {
    node = links.create();
    nodes.set(key, node);
  }
  return node;
}

function topicsOf(entry: PostEntry, wanted: boolean): { mentions: UserNo[]; tags: string[]; root: Offset } {
  const root = entry.reply?.root ?? entry.offset;
  if (!wanted || entry.deleted) return { mentions: [], tags: [], root };
  const { mentions, tags } = unpackContent(entry.packed);
  return { mentions, tags, root };
}
