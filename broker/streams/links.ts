/* Links: a two-sided graph in flat memory.
 *
 * Nodes on one side are topics, on the other subscriptions. Each node is a list of its links; a link is one pair of words
 * in each of its two lists, and each pair knows where the other is:
 *
 *   list of A:  … | B, 5 | …        list of B:  … | A, 2 | …
 *                    index 2                       index 5
 *
 * So a link is made and cut in O(1) by pushing and by moving the last pair into the hole, a list is walked without
 * hashing, and a hundred million links are numbers in arrays, not objects.
 *
 * A list of up to 16 pairs is one block of 1, 2, 4, 8 or 16 pairs. A longer one is blocks of 16, and a directory of them:
 *
 *   directory:  | block | block | block | free |        of a power of two words; only it moves when the list outgrows it
 *                   └─> 16 pairs    └─> 16 pairs, the last ones
 *
 * Pairs of a long list never move as it grows, so that a whale's list costs its next follower no more than anyone's, but
 * for the directory, a thirty-second part of it, which doubles. A list that shrinks gives its blocks back; all are of few
 * sizes, so that others use them again. A link comes to 17 bytes in long lists.
 *
 * Blocks lie in segments of 4 MiB, which never move either: memory grows by what is needed, and nothing stops for a copy.
 * A block is named by its first word's number over all segments, 32 bits: room for 16 GiB, or a thousand million links. */

/** A node, as the number of its list; 0 is none. */
export type Node = number;

/** Words of a segment, as a power of two. */
const segmentBits = 20;
const segmentWords = 1 << segmentBits;
const segmentMask = segmentWords - 1;
const maxSegments = 2 ** (32 - segmentBits);
/** Pairs of the largest block, as a power of two. */
const blockBits = 4;
const blockMask = (1 << blockBits) - 1;

/* What a list lies in, its kind: 0 nothing; a block or, with this bit, a directory, of 2^kind words. */
const directoryBit = 32;
const sizeMask = directoryBit - 1;
const largestBlock = blockBits + 1;
const smallestDirectory = directoryBit | 1;

export class Links {
  readonly #newSegment: (words: number) => Uint32Array;
  readonly #segments: Uint32Array[] = [];
  /** Words in use of all segments; word 0 is none's. */
  #used = 2;
  /** By size, as a power of two of words: starts of what is free. */
  readonly #free: number[][] = Array.from({ length: segmentBits + 1 }, () => []);
  /** By node. */
  #start = new Uint32Array(1024);
  #length = new Uint32Array(1024);
  #kind = new Uint8Array(1024);
  #nodes = 1;
  /** The block that was looked at last: of which node, which of its blocks, and where. Forgotten when a block moves. */
  #seenNode: Node = 0;
  #seenBlock = 0;
  #seenStart = 0;
  #seenWords: Uint32Array;
  readonly #freeNodes: Node[] = [];

  /** Segments come from `newSegment`, all zero. */
  constructor(newSegment = (words: number): Uint32Array => new Uint32Array(words)) {
    this.#newSegment = newSegment;
    this.#seenWords = newSegment(segmentWords);
    this.#segments.push(this.#seenWords);
  }

  create(): Node {
    return this.#freeNodes.pop() ?? this.#newNode();
  }

  /** How many links `node` has. */
  degree(node: Node): number {
    return this.#length[node]!;
  }

  /** The node at the other end of `node`'s link number `index`. */
  peer(node: Node, index: number): Node {
    const block = index >>> blockBits;
    if (node !== this.#seenNode || block !== this.#seenBlock) this.#see(node, block);
    return this.#seenWords[this.#seenStart + 2 * (index & blockMask)]!;
  }

  /** Keeps in mind where a block of `node` is, for those who walk a list. */
  #see(node: Node, block: number): void {
    const start = this.#pair(node, block << blockBits);
    this.#seenWords = this.#segments[start >>> segmentBits]!;
    this.#seenStart = start & segmentMask;
    this.#seenNode = node;
    this.#seenBlock = block;
  }

  link(a: Node, b: Node): void {
    const atA = this.#length[a]!;
    const atB = this.#length[b]!;
    this.#push(a, b, atB);
    this.#push(b, a, atA);
  }

  /** The index of the link from `node` to `peer`, or -1. Walks the links of `node`. */
  find(node: Node, peer: Node): number {
    const length = this.#length[node]!;
    for (let index = 0; index < length; index++) if (this.peer(node, index) === peer) return index;
    return -1;
  }

  /** Cuts `node`'s link number `index`; its last link takes that number. */
  cut(node: Node, index: number): void {
    const pair = this.#pair(node, index);
    const peer = this.#read(pair);
    const peerIndex = this.#read(pair + 1);
    this.#fill(node, index);
    this.#fill(peer, peerIndex);
  }

  /** Cuts all links of `node` and forgets it. */
  release(node: Node): void {
    for (let last = this.#length[node]! - 1; last >= 0; last--) this.cut(node, last);
    this.#freeNodes.push(node);
  }

  /** Bytes held. */
  get bytes(): number {
    const segments = this.#segments.length * segmentWords * Uint32Array.BYTES_PER_ELEMENT;
    return segments + this.#start.byteLength + this.#length.byteLength + this.#kind.byteLength;
  }

  #read(word: number): number {
    return this.#segments[word >>> segmentBits]![word & segmentMask]!;
  }

  #write(word: number, value: number): void {
    this.#segments[word >>> segmentBits]![word & segmentMask] = value;
  }

  /** Where `node`'s pair number `index` is. */
  #pair(node: Node, index: number): number {
    const start = this.#start[node]!;
    if (this.#kind[node]! < directoryBit) return start + 2 * index;
    return this.#read(start + (index >>> blockBits)) + 2 * (index & blockMask);
  }

  #push(node: Node, peer: Node, peerIndex: number): void {
    const length = this.#length[node]!;
    this.#makeRoom(node, length);
    this.#length[node] = length + 1;
    const pair = this.#pair(node, length);
    this.#write(pair, peer);
    this.#write(pair + 1, peerIndex);
  }

  /** Moves the last pair of `node` to `index` and shortens the list. */
  #fill(node: Node, index: number): void {
    const last = this.#length[node]! - 1;
    if (index !== last) {
      const from = this.#pair(node, last);
      const to = this.#pair(node, index);
      const peer = this.#read(from);
      const peerIndex = this.#read(from + 1);
      this.#write(to, peer);
      this.#write(to + 1, peerIndex);
      this.#write(this.#pair(peer, peerIndex) + 1, index);
    }
    this.#length[node] = last;
    this.#giveBack(node, last);
  }

  /** Makes room for one pair behind the `length` there are. */
  #makeRoom(node: Node, length: number): void {
    const kind = this.#kind[node]!;
    if (kind < largestBlock) {
      if (kind === 0 || 2 * length === wordsOf(kind)) this.#move(node, kind + 1, 2 * length);
      return;
    }
    if ((length & blockMask) !== 0) return;
    const blocks = length >>> blockBits;
    if (kind === largestBlock) {
      const first = this.#start[node]!;
      this.#start[node] = this.#allocate(smallestDirectory);
      this.#kind[node] = smallestDirectory;
      this.#write(this.#start[node], first);
    } else if (blocks === wordsOf(kind)) this.#move(node, kind + 1, blocks);
    this.#write(this.#start[node]! + blocks, this.#allocate(largestBlock));
  }

  /** Gives back what a list that has shortened to `length` needs no more. */
  #giveBack(node: Node, length: number): void {
    const kind = this.#kind[node]!;
    const start = this.#start[node]!;
    if (kind < directoryBit) {
      if (length === 0) {
        this.#release(kind, start);
        this.#start[node] = 0;
        this.#kind[node] = 0;
      } else if (8 * length <= wordsOf(kind)) this.#move(node, kind - 1, 2 * length);
      return;
    }
    if ((length & blockMask) !== 0) return;
    const blocks = length >>> blockBits;
    this.#release(largestBlock, this.#read(start + blocks));
    if (blocks === 1) {
      this.#start[node] = this.#read(start);
      this.#kind[node] = largestBlock;
      this.#release(kind, start);
    } else if (4 * blocks <= wordsOf(kind)) this.#move(node, kind - 1, blocks);
  }

  /** Moves what a list lies in to a place of another size; `words` of it are in use. */
  #move(node: Node, kind: number, words: number): void {
    const from = this.#start[node]!;
    const to = this.#allocate(kind);
    for (let word = 0; word < words; word++) this.#write(to + word, this.#read(from + word));
    this.#release(this.#kind[node]!, from);
    this.#start[node] = to;
    this.#kind[node] = kind;
  }

  #release(kind: number, start: number): void {
    this.#seenNode = 0;
    if (kind !== 0) this.#free[kind & sizeMask]!.push(start);
  }

  #allocate(kind: number): number {
    const size = kind & sizeMask;
    const free = this.#free[size]?.pop();
    if (free !== undefined) return free;
    const words = wordsOf(kind);
    if (this.#used + words > this.#segments.length * segmentWords) this.#addSegment(words);
    const start = this.#used;
    this.#used += words;
    return start;
  }

  /** Begins a segment. What is left of the one before is kept as free blocks. */
  #addSegment(words: number): void {
    if (words > segmentWords || this.#segments.length === maxSegments) {
      throw new Error(
        `links: one node has ${segmentWords << blockBits} at most, and all ${maxSegments} segments`,
      );
    }
    const end = this.#segments.length * segmentWords;
    for (let size = largestBlock; size > 0; size--) {
      for (; this.#used + (1 << size) <= end; this.#used += 1 << size) this.#free[size]!.push(this.#used);
    }
    this.#segments.push(this.#newSegment(segmentWords));
    this.#used = end;
  }

  #newNode(): Node {
    const node = this.#nodes++;
    if (node === this.#start.length) {
      this.#start = doubled(this.#start, new Uint32Array(node * 2));
      this.#length = doubled(this.#length, new Uint32Array(node * 2));
      this.#kind = doubled(this.#kind, new Uint8Array(node * 2));
    }
    return node;
  }
}

/** Words of a block or a directory. */
function wordsOf(kind: number): number {
  return 1 << (kind & sizeMask);
}

function doubled<T extends Uint32Array | Uint8Array>(array: T, larger: T): T {
  larger.set(array);
  return larger;
}
