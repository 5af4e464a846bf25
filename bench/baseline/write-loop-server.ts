/* The send loop in Node.js, for machines without a C compiler: `socket.write` of one payload for each socket. Speaks as
 * send-loop.c does. Port and the payload's bytes are its arguments. */

import { type Socket, createServer } from "node:net";

import { endWithInput } from "../targets/end-with-input.ts";

const [port, payloadBytes] = process.argv.slice(2).map(Number) as [number, number];
const readerLetter = 0x72;
const readers = new Set<Socket>();
let rest: Buffer = Buffer.alloc(0);

createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => socket.destroy()).on("close", () => readers.delete(socket));
  socket.once("data", (letter: Buffer) => {
    socket.write(letter.subarray(0, 1));
    if (letter[0] === readerLetter) readers.add(socket.resume());
    else socket.on("data", publish);
  });
}).listen({ port, host: "127.0.0.1", backlog: 4_096 });
endWithInput();

function publish(chunk: Buffer): void {
  rest = Buffer.concat([rest, chunk]);
  for (; rest.length >= payloadBytes; rest = rest.subarray(payloadBytes)) {
    const payload = rest.subarray(0, payloadBytes);
    for (const reader of readers) reader.write(payload);
  }
}
