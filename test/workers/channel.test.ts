/* The channel between processes: messages come whole and in order, and a faulty one harms those beside it in no way. */

import { once } from "node:events";
import { type AddressInfo, type Socket, connect, createServer } from "node:net";

import tap, { type Test } from "tap";

import { Channel } from "../../broker/workers/channel.ts";

/** Two ends of a real connection. */
async function ends(t: Test): Promise<[Socket, Socket]> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const near = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [far] = (await once(server, "connection")) as [Socket];
  server.close();
  t.teardown(() => {
    near.destroy();
    far.destroy();
  });
  return [near, far];
}

const fail = (): never => {
  throw new Error("it is not to be called");
};
const unused = { onMessage: fail, onClosed: () => {}, onUnsendable: fail, onUnreadable: fail };

await tap.test("a message that cannot be packed is told, and those beside it are sent", async (t) => {
  const [near, far] = await ends(t);
  const unsendable: [message: unknown, error: unknown][] = [];
  const sender = new Channel<unknown, unknown>(near, {
    ...unused,
    onUnsendable: (...told) => unsendable.push(told),
  });
  const received: unknown[] = [];
  const last = new Promise<void>((resolve) => {
    const onMessage = (message: unknown): void => {
      received.push(message);
      if (message === "last") resolve();
    };
    void new Channel<unknown, unknown>(far, { ...unused, onMessage });
  });
  const faulty = ["append", 2, { data: 2n ** 70n }];
  for (const message of [["append", 1], faulty, ["append", 3], Symbol("no"), { toJSON: 1, constructor: 2 }])
    sender.send(message);
  sender.send("last");
  await last;
  t.same(received, [["append", 1], ["append", 3], { toJSON: 1, constructor: 2 }, "last"]);
  t.equal(unsendable.length, 2);
  t.equal(unsendable[0]![0], faulty);
  t.match(unsendable[0]![1], { name: "RangeError" });
});

await tap.test("a message whose handling throws is told, and those behind it are handled", async (t) => {
  const [near, far] = await ends(t);
  const sender = new Channel<unknown, unknown>(near, unused);
  const [received, faults]: [unknown[], unknown[]] = [[], []];
  const last = new Promise<void>((resolve) => {
    void new Channel<unknown, unknown>(far, {
      ...unused,
      onMessage: (message) => {
        if (message === "bad") throw new Error("no");
        received.push(message);
        if (message === "last") resolve();
      },
      onFault: (...told) => faults.push(told),
    });
  });
  for (const message of ["first", "bad", "second", "bad", "last"]) sender.send(message);
  await last;
  t.same(received, ["first", "second", "last"]);
  t.match(faults, [
    ["bad", { message: "no" }],
    ["bad", { message: "no" }],
  ]);
});

await tap.test("what is no frame is told, and not thrown at whoever reads", async (t) => {
  const [near, far] = await ends(t);
  const told = new Promise<unknown>((resolve) => {
    void new Channel<unknown, unknown>(far, { ...unused, onUnreadable: resolve });
  });
  near.write(Buffer.from([3, 0, 0, 0, 0xc1, 0xc1, 0xc1]));
  t.ok((await told) instanceof Error);
});
