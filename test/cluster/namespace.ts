/* Namespace: a network namespace of a test's own, with two links to this one: what clients use, and what can be cut.
 *
 *   this namespace   .1 ──────── clients ──────── .2   the namespace
 *                    .5 ──────── cut, healed ──── .6
 *
 * A link that is cut loses packets without a word, as a pulled cable does. Addresses are of the range for tests of networks
 * (RFC 2544). */

import { execFileSync } from "node:child_process";

import type { Test } from "tap";

import { findProgram } from "../../bench/targets/programs.ts";

export class Namespace {
  readonly #name: string;
  readonly #subnet: string;

  /** Undefined where one may not be made, which root may. Gone when the test ends. */
  static make(t: Test): Namespace | undefined {
    if (findProgram("ip") === undefined) return undefined;
    const namespace = new Namespace();
    try {
      namespace.#make();
    } catch {
      namespace.#remove();
      return undefined;
    }
    t.teardown(() => namespace.#remove());
    return namespace;
  }

  private constructor() {
    // By this process' id: tests that run beside each other have their own.
    this.#name = `whale${process.pid}`;
    this.#subnet = `198.18.${(process.pid >> 5) & 0xff}.${(process.pid & 0x1f) << 3}`;
  }

  /** What runs a program in it. */
  get by(): readonly string[] {
    return [findProgram("ip")!, "netns", "exec", this.#name];
  }

  /** Its address for clients. */
  get address(): string {
    return this.#address(2);
  }

  /** Our address at the end of the link that can be cut. */
  get ours(): string {
    return this.#address(5);
  }

  cut(): void {
    this.#inside("link", "set", this.#link("b", 1), "down");
  }

  heal(): void {
    this.#inside("link", "set", this.#link("b", 1), "up");
  }

  #make(): void {
    ip("netns", "add", this.#name);
    this.#inside("link", "set", "lo", "up");
    for (const [name, host] of [
      ["a", 1],
      ["b", 5],
    ] as const) {
      ip("link", "add", this.#link(name, 0), "type", "veth", "peer", "name", this.#link(name, 1));
      ip("link", "set", this.#link(name, 1), "netns", this.#name);
      ip("addr", "add", `${this.#address(host)}/30`, "dev", this.#link(name, 0));
      ip("link", "set", this.#link(name, 0), "up");
      this.#inside("addr", "add", `${this.#address(host + 1)}/30`, "dev", this.#link(name, 1));
      this.#inside("link", "set", this.#link(name, 1), "up");
    }
  }

  /** Links go with the end of them that is inside. */
  #remove(): void {
    try {
      ip("netns", "del", this.#name);
    } catch {
      // There is none.
    }
  }

  #inside(...args: string[]): void {
    ip("-n", this.#name, ...args);
  }

  /** Names of links have 15 characters at most. */
  #link(name: string, end: 0 | 1): string {
    return `ws${process.pid}${name}${end}`;
  }

  #address(host: number): string {
    const [a, b, c, d] = this.#subnet.split(".").map(Number) as [number, number, number, number];
    return `${a}.${b}.${c}.${d + host}`;
  }
}

function ip(...args: string[]): void {
  execFileSync(findProgram("ip")!, args, { stdio: ["ignore", "ignore", "pipe"] });
}
