/* Farewell: the last words on a raw connection, and its end.
 *
 * The answer is written and our side ends; the connection is destroyed once the peer ends too, and `lingerMs` later whatever
 * the peer does: one that keeps its half open holds no file here. Meanwhile what it sends is thrown away, since closing over
 * bytes that were not read makes the kernel reset the connection, and the peer lose the answer. */

import type { Socket } from "node:net";

import type { ErrorBody } from "../../protocol/index.ts";

/** How long a connection that is being ended may stay, in ms. */
export const lingerMs = 1_000;

/** Writes an answer of HTTP with an error in it, and ends the connection. */
export function refuseAndEnd(
  socket: Socket,
  status: string,
  error: ErrorBody,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = JSON.stringify({ error });
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  endAfter(
    socket,
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n${lines.join("")}\r\n${body}`,
  );
}

/** Writes `text` and ends the connection. */
export function endAfter(socket: Socket, text: string): void {
  const destroy = (): void => void socket.destroy();
  const timer = setTimeout(destroy, lingerMs);
  socket.once("close", () => clearTimeout(timer));
  socket.once("end", () => socket.end(destroy));
  socket.on("error", destroy);
  socket.end(text);
  socket.resume();
}
