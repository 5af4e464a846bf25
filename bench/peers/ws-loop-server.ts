/* What a user of ws would write: the clients of each topic, and a loop that sends to them. Port in the first argument. */

import { type WebSocket, WebSocketServer } from "ws";

import { endWithInput } from "../targets/end-with-input.ts";

type Message = { subscribe: string[] } | { topic: string; payload: string };

const topics = new Map<string, Set<WebSocket>>();
const server = new WebSocketServer({
  port: Number(process.argv[2]),
  host: "127.0.0.1",
  backlog: 4_096,
  perMessageDeflate: false,
});

server.on("connection", (client) => {
  client.on("error", () => client.terminate());
  client.on("close", () => {
    for (const clients of topics.values()) clients.delete(client);
  });
  client.on("message", (data) => {
    const message = JSON.parse((data as Buffer).toString()) as Message;
    if ("subscribe" in message) {
      for (const topic of message.subscribe) subscribe(client, topic);
      client.send("subscribed");
    } else publish(message.topic, Buffer.from(message.payload));
  });
});
endWithInput();

function subscribe(client: WebSocket, topic: string): void {
  const clients = topics.get(topic) ?? new Set();
  topics.set(topic, clients.add(client));
}

function publish(topic: string, payload: Buffer): void {
  for (const client of topics.get(topic) ?? [])
    if (client.readyState === client.OPEN) client.send(payload, { binary: false });
}
