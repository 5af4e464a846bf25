/* Who asks: what headers and query say of it, over HTTP, Server-Sent Events and WebSockets. */

import tap from "tap";

import { EventReader } from "./event-reader.ts";
import { exchange, statusesIn } from "./exchange.ts";
import { RawSocket } from "./raw-socket.ts";
import { call, secret, startBroker, tokenFor } from "./server.ts";

/** What a way in says to credentials: whose they are taken for, or the code that they are refused with. */
type Way = (url: string, query: string, lines: string[]) => Promise<string>;

const http: Way = async (url, query, lines) => {
  const text = await exchange(
    url,
    `GET /v1/streams/home?limit=1${query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`,
  );
  return statusesIn(text)[0] === 200 ? "taken" : /"code":"(\w+)"/.exec(text)![1]!;
};

const stream: Way = async (url, query, lines) => {
  const headers = Object.fromEntries(lines.map((line) => line.split(": ", 2) as [string, string]));
  try {
    const reader = await EventReader.open(`${url}/v1/stream?stream=home${query}`, headers);
    reader.close();
    return "taken";
  } catch (error) {
    return (error as Error).message.split(" ")[1]!;
  }
};

const webSocket: Way = async (url, query, lines) => {
  const socket = await RawSocket.open(url, `/v1/ws?${query.slice(1)}`, lines);
  try {
    socket.request({ id: 1, op: "read", stream: "home", limit: 1 });
    const answer = JSON.parse((await socket.next()).payload.toString()) as { error?: { code: string } };
    return answer.error?.code ?? "taken";
  } finally {
    socket.end();
  }
};

const ways = { HTTP: http, "an event stream": stream, "a WebSocket": webSocket };

for (const [name, way] of Object.entries(ways)) {
  await tap.test(`${name}: an Authorization for somebody else is passed over`, async (t) => {
    const { url } = await startBroker(t, { authSecret: secret });
    const token = await tokenFor("alice");
    const none = name === "a WebSocket" ? "hello_first" : "unauthenticated";
    for (const other of [
      "Basic YWxpY2U6",
      "Digest username=x",
      "Negotiate abc",
      "bearertoken abc",
      "abc",
      "",
    ]) {
      t.equal(await way(url, `&token=${token}`, [`Authorization: ${other}`]), "taken", other);
      t.equal(await way(url, "", [`Authorization: ${other}`]), none, `${other} alone`);
    }
    for (const own of [`Bearer ${token}`, `bearer ${token}`, `BEARER   ${token}  `])
      t.equal(
        await way(url, "&token=wrong", [`Authorization: ${own}`]),
        "taken",
        "Bearer wins over the query",
      );
    for (const bad of ["Bearer", "Bearer a b", `Bearer ${token}, Basic abc`, "bearer"])
      t.equal(await way(url, `&token=${token}`, [`Authorization: ${bad}`]), "unauthenticated", bad);
    if (name === "an event stream") return; // its client here joins what is given twice
    t.equal(await way(url, "", ["Authorization: Basic abc", `Authorization: Bearer ${token}`]), "taken");
    t.equal(await way(url, "", [`Authorization: Bearer ${token}`, "Authorization: Basic abc"]), "taken");
    t.equal(
      await way(url, "", [`Authorization: Bearer ${token}`, "Authorization: Bearer other"]),
      "unauthenticated",
    );
  });

  await tap.test(`${name}: a parameter without a value is as if it were not there`, async (t) => {
    const closed = await startBroker(t, { authSecret: secret });
    const token = await tokenFor("alice");
    for (const query of [`&user=&token=${token}`, `&token=&token=${token}`, `&token=${token}&token=&user`])
      t.equal(await way(closed.url, query, []), "taken", query);
    t.equal(await way(closed.url, "&token=&user=", [`Authorization: Bearer ${token}`]), "taken");
    t.equal(await way(closed.url, "&token=", []), name === "a WebSocket" ? "hello_first" : "unauthenticated");
    const open = await startBroker(t);
    t.equal(await way(open.url, "&token=&user=alice", ["Authorization: "]), "taken");
    t.equal(await way(open.url, "&user=", []), name === "a WebSocket" ? "hello_first" : "unauthenticated");
  });
}

await tap.test("a WebSocket's query is read as any other", async (t) => {
  const { url } = await startBroker(t);
  for (const query of ["user=alice&user=bob", "user=%ff"]) {
    const { upgrade } = await RawSocket.open(url, `/v1/ws?${query}`);
    t.match(upgrade, /^HTTP\/1.1 400 /, query);
  }
  const socket = await RawSocket.open(url, "/v1/ws?user=alice&device=");
  socket.request({ id: 1, op: "cursor", stream: "home" });
  t.match(JSON.parse((await socket.next()).payload.toString()), { ok: { device: "default" } });
  socket.end();
});

await tap.test("an event stream starts where an empty Last-Event-ID does not say", async (t) => {
  const { url } = await startBroker(t);
  const post = await call(url, "POST /v1/posts?user=bob", { body: { text: "one" } });
  const first = String(post.json["id"]);
  for (const [query, headers] of [
    ["from=earliest", { "Last-Event-ID": "" }],
    ["from=earliest&lastEventId=&device=&as=&replies=", {}],
    ["lastEventId=&from=earliest", { "Last-Event-ID": "" }],
    ["from=&lastEventId=&device=", { "Last-Event-ID": first.replace(/\d+$/, "0") }],
  ] as const) {
    const reader = await EventReader.open(`${url}/v1/stream?stream=home&user=bob&${query}`, headers);
    t.match((await reader.expect("post"))[0], { id: first }, query);
    reader.close();
  }
  const live = await EventReader.open(`${url}/v1/stream?stream=home&user=bob&from=`, { "Last-Event-ID": "" });
  t.equal((await live.next())!.id, first, "live without a device");
  live.close();
});

await tap.test("an empty parameter means none, a misspelt one is refused all the same", async (t) => {
  const { url } = await startBroker(t);
  const get = (query: string): ReturnType<typeof call> => call(url, `GET /v1/users/alice/home?${query}`);
  t.equal((await get("before=&after=&replies=&user=&token=&as")).status, 400, "`as` is said by the path");
  t.equal((await get("before=&after=&replies=&from=&filter.from=&user=&token=")).status, 200);
  t.equal((await get("before=&before=")).status, 200);
  t.match(await get("limit=1&limit=2"), { status: 400, error: { field: "limit" } });
  t.match(await get("limits="), { status: 400, error: { field: "limits" } });
  t.match(await call(url, "GET /v1/stream?user=alice&stream="), { status: 400, error: { field: "stream" } });
  t.equal((await call(url, "GET /v1/users/alice/cursors/home?device=")).json["device"], "default");
});
