/* RecentMap: a map that keeps what was used lately and never holds more than twice its `capacity`.
 *
 * Two generations: when the young one is full it becomes the old one, and the old one is dropped. A hit in the old one
 * moves to the young. No list to maintain on a hit, which is what the publish path does most.
 *
 * Full is by weight: one for each value, or what `weigh` says, bytes for instance. */

export class RecentMap<K, V> {
  readonly #capacity: number;
  readonly #weigh: (value: V) => number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();
  #youngWeight = 0;

  constructor(capacity: number, weigh: (value: V) => number = () => 1) {
    this.#capacity = capacity;
    this.#weigh = weigh;
  }

  get(key: K): V | undefined {
    const value = this.#young.get(key);
    if (value !== undefined) return value;
    const older = this.#old.get(key);
    if (older !== undefined) this.set(key, older);
    return older;
  }

  set(key: K, value: V): void {
    this.#young.set(key, value);
    this.grow(this.#weigh(value));
  }

  /** A value that is held has become heavier by `weight`. Counted as the young ones', wherever it is. */
  grow(weight: number): void {
    this.#youngWeight += weight;
    if (this.#youngWeight < this.#capacity) return;
    this.#old = this.#young;
    this.#young = new Map();
    this.#youngWeight = 0;
  }

  delete(key: K): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }
}
