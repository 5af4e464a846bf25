/* Exchange: bytes sent to a server as they are, and all that comes back until it ends the connection. */

import { once } from "node:events";
import { connect } from "node:net";

/** Sends `parts`, each once something has come back for the one before; the last should say `Connection: close`. */
export async function exchange(base: string, ...parts: string[]): Promise<string> {
  const { hostname, port } = new URL(base);
  const socket = connect(Number(port), hostname);
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  const closed = once(socket, "close");
  for (const [i, part] of parts.entries()) {
    const answered = i + 1 < parts.length ? once(socket, "data") : undefined;
    socket.write(part);
    await answered;
  }
  await closed;
  return text;
}

/** The statuses of the answers in `text`. */
export function statusesIn(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
}
