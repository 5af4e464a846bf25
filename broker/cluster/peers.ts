/* Peers: the other nodes, as far as their gossip tells. Knows no NATS and no clock. */

import type { Numbers, Run, Versions } from "./versions.ts";

interface Peer {
  readonly run: Run;
  node: string;
  heardAt: number;
  /** It was asked something and did not answer in time: not waited for until it is heard again. */
  isSilent: boolean;
  /** What it has said that it has, the last time and the time before. */
  have: Numbers | undefined;
  before: Numbers | undefined;
}

export class Peers {
  readonly #peers = new Map<Run, Peer>();

  heard(run: Run, node: string, now: number): void {
    const peer = this.#peers.get(run);
    if (peer === undefined) {
      const fresh = { run, node, heardAt: now, isSilent: false, have: undefined, before: undefined };
      this.#peers.set(run, fresh);
    } else {
      peer.heardAt = now;
      peer.isSilent = false;
    }
  }

  /** It says what it has. */
  stands(run: Run, have: Numbers): void {
    const peer = this.#peers.get(run);
    if (peer === undefined) return;
    peer.before = peer.have;
    peer.have = have;
  }

  silent(run: Run): void {
    const peer = this.#peers.get(run);
    if (peer !== undefined) peer.isSilent = true;
  }

  gone(run: Run): void {
    this.#peers.delete(run);
  }

  clear(): void {
    this.#peers.clear();
  }

  /** Forgets those not heard since `since`. */
  forget(since: number): void {
    for (const [run, { heardAt }] of this.#peers) if (heardAt < since) this.#peers.delete(run);
  }

  /** How many are known, also of those who do not answer. */
  get count(): number {
    return this.#peers.size;
  }

  /** Those who answer, as far as is known. */
  get answering(): Run[] {
    return Array.from(this.#peers.values(), ({ run, isSilent }) => (isSilent ? "" : run)).filter(
      (run) => run !== "",
    );
  }

  /**
   * A peer, other than those in `but`, that has what is not had here: of its own, which comes before it says how much that is;
   * or of a node that is gone, which may be on its way yet, and counts as missing once the peer has spoken again.
   */
  ahead(versions: Versions, but: ReadonlySet<Run>): { run: Run; node: string; have: Numbers } | undefined {
    for (const { run, node, have, before, isSilent } of this.#peers.values()) {
      if (have === undefined || isSilent || but.has(run)) continue;
      const own = { [run]: have[run] ?? 0 };
      if (versions.lacks(own) || versions.lacks(this.#ofGone(before, but))) return { run, node, have };
    }
    return undefined;
  }

  /** Without those who can be asked themselves. */
  #ofGone(numbers: Numbers = {}, but: ReadonlySet<Run>): Numbers {
    const gone = Object.entries(numbers).filter(([run]) => {
      const peer = this.#peers.get(run);
      return peer === undefined || peer.isSilent || but.has(run);
    });
    return Object.fromEntries(gone);
  }
}
