/* UserMarks: one thing that is so of some users, once and for good, as one byte by user number. */

import type { UserNo } from "./bytes.ts";

export class UserMarks {
  /** Empty until somebody is marked. */
  #marks = new Uint8Array(0);

  has(user: UserNo): boolean {
    return user < this.#marks.length && this.#marks[user] === 1;
  }

  set(user: UserNo): void {
    if (user >= this.#marks.length) {
      const larger = new Uint8Array(Math.max(user + 1, this.#marks.length * 2, 1024));
      larger.set(this.#marks);
      this.#marks = larger;
    }
    this.#marks[user] = 1;
  }
}
