/* Truth: asks nodes all the time whether they are ready, and publishes at each to see whether that is so.
 *
 * A node that said so before and after a post must have taken it; one that refused before and after must not have. What lies
 * between two different words of a node proves nothing, nor does a log that is slow: a node says that it waits, and may yet be answered. */

import { setTimeout as sleep } from "node:timers/promises";

import type { Test } from "tap";

import { WhalesongError } from "../../protocol/index.ts";
import { offsetOf } from "../sessions/session-client.ts";
import type { ClusterNode, Readiness } from "./broker-process.ts";
import type { Told } from "./told.ts";

/** Not ready, and not refusing. */
const isSlow = /^a command has waited|^cursors have not been written/;
/** Between two looks at a node. */
const restMs = 150;
const prober = "prober";

export class Truth {
  readonly #nodes: readonly ClusterNode[];
  readonly #told: Told;
  readonly #lies: string[] = [];
  /** Looks that proved something, by node and word. */
  readonly #proofs = new Map<string, number>();
  #isStopped = false;
  #work: Promise<unknown> = Promise.resolve();
  #posts = 0;

  /** Begins. What is published is noted with the rest of what was `told`. */
  static of(t: Test, nodes: readonly ClusterNode[], told: Told): Truth {
    const truth = new Truth(nodes, told);
    t.teardown(() => truth.#stop());
    truth.#work = Promise.all(nodes.map((node) => truth.#watch(node)));
    return truth;
  }

  private constructor(nodes: readonly ClusterNode[], told: Told) {
    this.#nodes = nodes;
    this.#told = told;
  }

  /** Settles once a node said that it is not ready, and refused a post. */
  async untilRefused({ name }: ClusterNode): Promise<void> {
    while (!this.#proofs.has(`${name} unready`) && this.#lies.length === 0) await sleep(restMs);
  }

  /** Ends, and says whether any node lied. Each was seen ready; those in `refused` were seen unready, too. */
  async check(t: Test, { refused = [] }: { refused?: readonly ClusterNode[] } = {}): Promise<void> {
    await this.#stop();
    t.same(this.#lies, [], "/readyz told the truth");
    for (const { name } of this.#nodes)
      t.ok(this.#proofs.has(`${name} ready`), `${name} was ready and took a post`);
    for (const { name } of refused) t.ok(this.#proofs.has(`${name} unready`), `${name} was not, and refused`);
  }

  async #stop(): Promise<void> {
    this.#isStopped = true;
    await this.#work;
  }

  async #watch(node: ClusterNode): Promise<void> {
    while (!this.#isStopped) {
      const before = await node.readiness();
      const taken = before === undefined ? undefined : await this.#post(node);
      const after = await node.readiness();
      if (
        before !== undefined &&
        taken !== undefined &&
        before.isReady === after?.isReady &&
        !isSlow.test(before.reason)
      )
        this.#judge(node, before, taken);
      await sleep(restMs);
    }
  }

  #judge({ name }: ClusterNode, { isReady, reason }: Readiness, taken: string): void {
    const proof = `${name} ${isReady ? "ready" : "unready"}`;
    this.#proofs.set(proof, (this.#proofs.get(proof) ?? 0) + 1);
    if (isReady !== (taken === "")) {
      this.#lies.push(
        `${name} was ${isReady ? "ready" : `not ready (${reason})`}, and a post was ${taken || "taken"}`,
      );
    }
  }

  /** Empty when it was taken, else why not; undefined when there was no answer. */
  async #post(node: ClusterNode): Promise<string | undefined> {
    const text = `is it so? ${++this.#posts}`;
    try {
      const id = await node.post(text, { user: prober, key: text });
      this.#told.posts.set(offsetOf(id), { author: prober, text, id });
      return "";
    } catch (error) {
      return error instanceof WhalesongError ? `refused: ${error.code}: ${error.message}` : undefined;
    }
  }
}
