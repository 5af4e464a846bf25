/* Told: all that clients of a cluster were answered, whichever node answered. Whatever happens to nodes and NATS, it must be so
 * at the end, on every node. */

export interface AnsweredPost {
  author: string;
  text: string;
  id: string;
}

export class Told {
  /** By offset. */
  readonly posts = new Map<number, AnsweredPost>();
  /** Offsets of posts whose delete was answered, and of those whose delete was asked. */
  readonly deleted = new Set<number>();
  readonly deleting = new Set<number>();
  /** By "FOLLOWER FOLLOWEE". */
  readonly follows = new Map<string, boolean>();
  /** Commands answered. */
  answers = 0;
  #waiting: { answers: number; resolve: () => void }[] = [];

  noteAnswer(): void {
    this.answers++;
    if (this.#waiting.length === 0) return;
    for (const { answers, resolve } of this.#waiting) if (this.answers >= answers) resolve();
    this.#waiting = this.#waiting.filter(({ answers }) => answers > this.answers);
  }

  /** Settles once `more` commands have been answered. */
  more(more: number): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ answers: this.answers + more, resolve }));
  }
}
