/* What a user of socket.io would write: rooms, and a post for all who are in one. Port in the first argument. */

import { createServer } from "node:http";

import { Server } from "socket.io";

import { endWithInput } from "../targets/end-with-input.ts";

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  pingInterval: 3_600_000,
});

io.on("connection", (socket) => {
  socket.on("join", async (topics: string[], joined: () => void) => {
    await socket.join(topics);
    joined();
  });
  socket.on("publish", (topic: string, payload: string) => {
    io.to(topic).emit("post", payload);
  });
});

http.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4_096 });
endWithInput();
