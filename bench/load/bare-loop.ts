/* Bare loop: the least that fan-out can cost in Node.js on this machine. What the broker's deliveries are held against.
 *
 * One frame, built once, is written to every socket; nothing is kept, chosen or queued. It speaks as much of the protocol
 * as the small readers need: it lets everyone in, subscribes everyone, and says `live`. A connection that begins with
 * another letter than a request's G is the publisher: each of its bytes is a post. */

import { type AddressInfo, type Socket, createServer } from "node:net";

import { serveAsks } from "../asks.ts";
import { watchHandlers } from "../watch.ts";
import { makeTexts } from "./texts.ts";

const upgraded = Buffer.from(
  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
);
const welcome = Buffer.concat([frameOf({ id: 1, ok: { sub: 1 } }), frameOf({ sub: 1, event: "live" })]);
const requestLetter = 0x47;

const readers: Socket[] = [];

const server = createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => socket.destroy());
  socket.once("data", (first) => {
    if (first[0] !== requestLetter) {
      publish(first.length);
      socket.on("data", (posts) => publish(posts.length));
      return;
    }
    socket.write(upgraded);
    socket.once("data", () => {
      readers.push(socket);
      socket.write(welcome);
      socket.resume();
    });
  });
});

const handlers = {
  ...watchHandlers,
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  },
};
export type BareLoopHandlers = typeof handlers;

serveAsks(handlers);

const post = frameOf(typicalPost());

function publish(posts: number): void {
  for (let i = 0; i < posts; i++) for (const reader of readers) reader.write(post);
}

/** As long as the broker's for the same text. */
function typicalPost(): object {
  const texts = makeTexts({ authors: 1, seed: 1 });
  const text = texts.toSorted((a, b) => a.length - b.length)[texts.length >> 1]!;
  const id = "0123456789ab-100000";
  const fields = { id, author: "a0", text, mentions: [], tags: [], at: Date.now() };
  return { sub: 1, event: "post", cursor: id, post: fields };
}

/** A text frame of a server, with a length of 16 bits. */
function frameOf(message: object): Buffer {
  const payload = Buffer.from(JSON.stringify(message));
  const header = Buffer.of(0x81, 126, 0, 0);
  header.writeUInt16BE(payload.length, 2);
  return Buffer.concat([header, payload]);
}
