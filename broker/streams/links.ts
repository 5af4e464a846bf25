/* Links: a two-sided graph in flat memory.
 *
 * Nodes on one side are topics, on the other subscriptions. Each node is a list of its links; a link is one pair of words
 * in each of its two lists, and each pair knows where the other is:
 *
 *   list of A:  … | B, 5 | …        list of B:  … | A, 2 | …
 *                    index 2                       index 5
 *
 * So a link is made and cut in O(1) by pushing and by moving the last pair into the hole, a list is walked without
 * hashing, and a hundred million links are numbers in one array, not objects. Lists live in blocks of a power of two
 * pairs within one Uint32Array; a list that outgrows its block moves to the next larger one. */

/** A node, as the number of its list; 0 is none. */
export type Node = number;

const smallestClass = 1; // blocks of 2 pairs

export class Links {
  #words = new Uint32Array(1 << 16);
  #used = 2;
  /** By size class: starts of blocks that are free. */
  readonly #freeBlocks: number[][] = Array.from({ length: 32 }, () => []);
  /** By node. */
  #start = new Uint32Array(1024);
  #length = new Uint32Array(1024);
  #class = new Uint8Array(1024);
  #nodes = 1;
  readonly #freeNodes: Node[] = [];

  create(): Node {
    const node = this.#freeNodes.pop() ?? this.#newNode();
    this.#start[node] = 0;
    this.#length[node] = 0;
    this.#class[node] = 0;
    return node;
  }

  /** How many links `node` has. */
  degree(node: Node): number {
    return this.#length[node]!;
  }

  /** The node at the other end of `node`'s link number `index`. */
  peer(node: Node, index: number): Node {
    return this.#words[this.#start[node]! + 2 * index]!;
  }

  link(a: Node, b: Node): void {
    const atA = this.#length[a]!;
    const atB = this.#length[b]!;
    this.#push(a, b, atB);
    this.#push(b, a, atA);
  }

  /** The index of the link from `node` to `peer`, or -1. Walks the links of `node`. */
  find(node: Node, peer: Node): number {
    const start = this.#start[node]!;
    const end = start + 2 * this.#length[node]!;
    for (let word = start; word < end; word += 2) if (this.#words[word] === peer) return (word - start) / 2;
    return -1;
  }

  /** Cuts `node`'s link number `index`; its last link takes that number. */
  cut(node: Node, index: number): void {
    const word = this.#start[node]! + 2 * index;
    const peer = this.#words[word]!;
    const peerIndex = this.#words[word + 1]!;
    this.#fill(node, index);
    this.#fill(peer, peerIndex);
  }

  /** Cuts all links of `node` and forgets it. */
  release(node: Node): void {
    for (let last = this.#length[node]! - 1; last >= 0; last--) this.cut(node, last);
    if (this.#class[node] !== 0) this.#freeBlocks[this.#class[node]!]!.push(this.#start[node]!);
    this.#class[node] = 0;
    this.#freeNodes.push(node);
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#words.byteLength + this.#start.byteLength + this.#length.byteLength + this.#class.byteLength;
  }

  /** Moves the last pair of `node` to `index` and shortens the list. */
  #fill(node: Node, index: number): void {
    const last = --this.#length[node]!;
    if (index === last) return;
    const start = this.#start[node]!;
    const peer = this.#words[start + 2 * last]!;
    const peerIndex = this.#words[start + 2 * last + 1]!;
    this.#words[start + 2 * index] = peer;
    this.#words[start + 2 * index + 1] = peerIndex;
    this.#words[this.#start[peer]! + 2 * peerIndex + 1] = index;
  }

  #push(node: Node, peer: Node, peerIndex: number): void {
    const length = this.#length[node]!;
    const size = this.#class[node]!;
    if (size === 0 || length === 1 << size) this.#grow(node, size === 0 ? smallestClass : size + 1);
    const word = this.#start[node]! + 2 * length;
    this.#words[word] = peer;
    this.#words[word + 1] = peerIndex;
    this.#length[node] = length + 1;
  }

  #grow(node: Node, size: number): void {
    const from = this.#start[node]!;
    const to = this.#allocate(size);
    this.#words.copyWithin(to, from, from + 2 * this.#length[node]!);
    if (this.#class[node] !== 0) this.#freeBlocks[this.#class[node]!]!.push(from);
    this.#start[node] = to;
    this.#class[node] = size;
  }

  #allocate(size: number): number {
    const free = this.#freeBlocks[size]!.pop();
    if (free !== undefined) return free;
    const start = this.#used;
    this.#used += 2 << size;
    if (this.#used > this.#words.length) {
      const larger = new Uint32Array(Math.max(this.#words.length * 2, this.#used));
      larger.set(this.#words);
      this.#words = larger;
    }
    return start;
  }

  #newNode(): Node {
    const node = this.#nodes++;
    if (node === this.#start.length) {
      this.#start = doubled(this.#start, new Uint32Array(node * 2));
      this.#length = doubled(this.#length, new Uint32Array(node * 2));
      this.#class = doubled(this.#class, new Uint8Array(node * 2));
    }
    return node;
  }
}

function doubled<T extends Uint32Array | Uint8Array>(array: T, larger: T): T {
  larger.set(array);
  return larger;
}
