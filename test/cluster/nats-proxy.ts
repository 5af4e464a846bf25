/* NatsProxy: the way of one node to NATS, which a test can hold up: what is said stays on its way, and nobody is told. */

import { type Server, type Socket, connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";

import type { Test } from "tap";

export class NatsProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isHeld = false;

  /** A way to `target`, a NATS server's URL. It ends with the test. */
  static async for(t: Test, target: string): Promise<NatsProxy> {
    const { hostname, port } = new URL(target);
    const proxy = new NatsProxy(hostname, Number(port));
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    t.teardown(() => proxy.#close());
    return proxy;
  }

  private constructor(host: string, port: number) {
    this.#server = createServer((near) => {
      const far = connect(port, host);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one);
        one.on("error", () => other.destroy());
        one.on("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
        if (this.#isHeld) one.pause();
      }
    });
  }

  /** As `--nats` takes it. */
  get url(): string {
    return `nats://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Nothing passes from now on. */
  hold(): void {
    this.#isHeld = true;
    for (const socket of this.#sockets) socket.pause();
  }

  /** What was held goes on its way, and all that follows. */
  release(): void {
    this.#isHeld = false;
    for (const socket of this.#sockets) socket.resume();
  }

  #close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
