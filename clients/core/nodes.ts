/* Nodes: the URLs of one cluster, and which of them to try when.
 *
 *   in turn --tried--> failed, or said goodbye --> resting --rested--> in turn
 *
 * Any node serves any client with the same cursors, so a client may begin at any and go on at any. Each takes the
 * nodes in an order of its own, drawn at random: so clients spread, and those of a node that went spread over all the
 * others. The one tried last comes last.
 *
 * A node that failed rests: full jitter, below a ceiling that doubles with each of its failures in a row, or as long
 * as it asked. Next is the first that does not rest; only when all of them do is there anything to wait for. So no
 * node hears more of a client than if it were the only one. One exception: who had a session lost it together with
 * others, and none of them goes elsewhere at the very same moment. */

import { type BackoffOptions, backoffMs } from "./backoff.ts";
import { clientLimits } from "./limits.ts";
import type { NodeUrl } from "./options.ts";

interface Node {
  readonly url: NodeUrl;
  /** Failures in a row. */
  failures: number;
  restsUntilMs: number;
  /** Whether what answers there is no broker, as far as is known. */
  isWrong: boolean;
}

/** How the present node was left. */
export interface Leaving {
  nowMs: number;
  backoff: BackoffOptions;
  hadSession: boolean;
  /** The node wants to be left alone for so long, with an error. */
  retryAfterMs: number;
  /** The node said `goodbye`, and to come back at this time. */
  comeBackAtMs: number | undefined;
}

export class Nodes {
  readonly #random: () => number;
  /** The one tried last comes last: the present one. */
  readonly #turns: Node[];
  /** Nodes left lately for want of what was asked, since `#movedAtMs`. */
  #moves = 0;
  #movedAtMs = 0;

  constructor(urls: readonly NodeUrl[], random: () => number) {
    this.#random = random;
    this.#turns = shuffle(urls, random).map((url) => ({ url, failures: 0, restsUntilMs: 0, isWrong: false }));
    this.#take(this.#turns[0] as Node);
  }

  /** The URL of the node to try, or of the one that is tried or in use. */
  get url(): NodeUrl {
    return this.#present.url;
  }

  get #present(): Node {
    return this.#turns.at(-1) as Node;
  }

  /** A session has lasted: whatever failed before is forgiven. */
  settled(): void {
    for (const node of this.#turns) node.failures = 0;
  }

  /** The present node answers as a broker does, or does not at all. */
  noteBroker(): void {
    this.#present.isWrong = false;
  }

  /** What answers at the present URL is no broker. Whether that is so at all of them. */
  noteWrong(): boolean {
    this.#present.isWrong = true;
    return this.#turns.every((node) => node.isWrong);
  }

  /** Leaves the present node to its rest and takes the next. Answers after how many milliseconds to try that. */
  next(leaving: Leaving): number {
    const { nowMs, backoff, retryAfterMs, comeBackAtMs, hadSession } = leaving;
    const left = this.#present;
    const restMs = Math.max(retryAfterMs, backoffMs(left.failures++, backoff, this.#random));
    left.restsUntilMs = comeBackAtMs ?? nowMs + restMs;
    const free = this.#turns.find((node) => node.restsUntilMs <= nowMs && node !== left);
    if (free !== undefined) {
      this.#take(free);
      return hadSession ? this.#apartMs(leaving) : 0;
    }
    this.#take(this.#turns.reduce((first, node) => (node.restsUntilMs < first.restsUntilMs ? node : first)));
    return Math.max(0, this.#present.restsUntilMs - nowMs);
  }

  /** Grants that a node is left which serves, but cannot do what it was asked. Not when there is no other to go to,
   *  and not round and round when none of them can. */
  grantMove(nowMs: number): boolean {
    const present = this.#present;
    if (!this.#turns.some((node) => node !== present && node.restsUntilMs <= nowMs)) return false;
    if (nowMs - this.#movedAtMs >= clientLimits.moveAgainMs) this.#moves = 0;
    if (this.#moves >= this.#turns.length - 1) return false;
    if (this.#moves++ === 0) this.#movedAtMs = nowMs;
    return true;
  }

  /** Apart from the others that lost their sessions here. A broker that stops lets them go one after the other, over
   *  its drain time, so little is to be added; that time may be short, though. */
  #apartMs({ nowMs, backoff, comeBackAtMs }: Leaving): number {
    if (comeBackAtMs === undefined) return backoffMs(0, backoff, this.#random);
    const mostMs = Math.min(clientLimits.moveMs, Math.max(0, comeBackAtMs - nowMs));
    return Math.floor(this.#random() * mostMs);
  }

  #take(node: Node): void {
    this.#turns.splice(this.#turns.indexOf(node), 1);
    this.#turns.push(node);
  }
}

function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const left = [...items];
  const drawn: T[] = [];
  while (left.length > 0) drawn.push(...left.splice(Math.floor(random() * left.length), 1));
  return drawn;
}
