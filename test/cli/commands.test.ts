/* The commands for people, against a real broker. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { decodeJwt, jwtVerify } from "jose";
import { type Test, test } from "tap";

import { Broker } from "../../broker/broker.ts";
import { freePort } from "../free-port.ts";
import { startBroker } from "./broker.ts";
import { Running, whalesong } from "./whalesong.ts";

async function start(
  t: Test,
  more: { authSecret?: string } = {},
): Promise<(user: string) => Record<string, string>> {
  const broker = await startBroker(t, more);
  return (user) => ({ WHALESONG_URL: broker.url, WHALESONG_USER: user });
}

async function succeed(args: string[], env: Record<string, string>, input = ""): Promise<string> {
  const { status, stdout, stderr } = await whalesong(args, { env, input });
  if (status !== 0) throw new Error(`${args.join(" ")}: status ${status}: ${stderr}`);
  return stdout;
}

void test("post prints the id; tail shows the post, with what was attached", async (t) => {
  const as = await start(t);
  const id = (await succeed(["post", "hello @bob #node", "--data", '{"n":[1]}'], as("alice"))).trim();
  const lines = await succeed(
    ["tail", "user:alice", "--from", "earliest", "--limit", "1", "--json"],
    as("bob"),
  );
  t.equal(lines.split("\n").length, 2, "one line");
  t.match(JSON.parse(lines), {
    event: "post",
    post: {
      id,
      author: "alice",
      text: "hello @bob #node",
      mentions: ["bob"],
      tags: ["node"],
      data: { n: [1] },
    },
  });
  const shown = await succeed(["tail", "mentions", "--from", "earliest", "--limit", "1"], as("bob"));
  t.match(shown, new RegExp(`^\\d\\d:\\d\\d:\\d\\d  alice +hello @bob #node  @ mentions you  ${id}\\n$`));
});

void test("post takes text from standard input, a reply, and its own mentions, tags and key", async (t) => {
  const as = await start(t);
  const first = JSON.parse(await succeed(["post", "-", "--json"], as("alice"), "two\nlines\n")) as {
    id: string;
  };
  const options = ["--reply-to", first.id, "--mention", "x", "--mention", "y", "--tag", "z", "--key", "k"];
  const reply = await succeed(["post", "yes", ...options], as("bob"));
  t.equal(await succeed(["post", "yes", ...options], as("bob")), reply, "the same key publishes once");
  const page = JSON.parse(await succeed(["read", `thread:${first.id}`, "--json"], as("alice"))) as {
    items: object[];
  };
  t.match(page.items, [
    { post: { text: "two\nlines" } },
    { post: { id: reply.trim(), replyTo: first.id, mentions: ["x", "y"], tags: ["z"] } },
  ]);
  t.equal(page.items.length, 2);
});

void test("tail of home says when it is live, and shows what those followed post", async (t) => {
  const as = await start(t);
  t.equal(await succeed(["follow", "bob", "carol"], as("alice")), "following bob\nfollowing carol\n");
  t.equal(await succeed(["unfollow", "carol"], as("alice")), "not following carol\n");
  const tail = new Running(["tail"], as("alice"));
  await tail.says(/live on home/, "stderr");
  await succeed(["post", "not for alice"], as("carol"));
  await succeed(["post", "for alice"], as("bob"));
  await tail.says(/for alice/);
  tail.process.kill("SIGINT");
  const { status, stdout } = await tail.ended;
  t.equal(status, 0, "Ctrl-C is how a tail ends");
  t.notMatch(stdout, /not for alice/);
});

void test("a tail resumes where the device's last one ended", async (t) => {
  const as = await start(t);
  await succeed(["follow", "bob"], as("alice"));
  const tail = new Running(["tail", "--limit", "1"], as("alice"));
  await tail.says(/live on home/, "stderr");
  for (const text of ["one", "two", "three"]) await succeed(["post", text], as("bob"));
  t.match((await tail.ended).stdout, / one /);
  const next = await succeed(["tail", "--limit", "2"], as("alice"));
  t.match(next, / two .*\n.* three .*\n$/);
  t.notMatch(next, / one /);
});

void test("read pages back and forth", async (t) => {
  const as = await start(t);
  for (const text of ["one", "two", "three"]) await succeed(["post", text], as("alice"));
  const newest = await whalesong(["read", "user:alice", "--limit", "2"], { env: as("bob") });
  t.match(newest.stdout, /^.* two .*\n.* three .*\n$/);
  const [, before = ""] = /older: --before (\S+)/.exec(newest.stderr) ?? [];
  t.match(await succeed(["read", "user:alice", "--before", before], as("bob")), /^.* one .*\n$/);
  const both = await whalesong(["read", "user:alice", "--before", before, "--after", before], {
    env: as("bob"),
  });
  t.match(both, { status: 2, stderr: /one of them at a time/ });
});

void test("a refusal is one line with code and message, and status 1", async (t) => {
  const as = await start(t);
  const { status, stdout, stderr } = await whalesong(["post", "x", "--reply-to", "nothing"], {
    env: as("alice"),
  });
  t.equal(status, 1);
  t.equal(stdout, "");
  t.match(stderr, /^whalesong: (not_found|bad_request): [^\n]+\n$/);
});

void test("where no broker is, the command says so at once", async (t) => {
  const ports = [await freePort(), await freePort()];
  const url = `ws://127.0.0.1:${ports[0]}`;
  const { status, stderr } = await whalesong(["tail"], {
    env: { WHALESONG_URL: url, WHALESONG_USER: "alice" },
  });
  t.equal(status, 1);
  t.match(stderr, /^whalesong: unreachable: no broker at [^\n]*whalesong serve[^\n]*\n$/);
  const none = await whalesong(["tail", "--user", "alice", "--url", `${url},http://127.0.0.1:${ports[1]}`]);
  t.equal(none.status, 1);
  t.match(none.stderr, new RegExp(`no broker at [^\\n]*:${ports[0]}/: [^\\n]*:${ports[1]}/: [^\\n]*\\n$`));
});

void test("of several nodes one that answers is enough, and a tail goes on at another", async (t) => {
  const data = await mkdtemp(join(tmpdir(), "whalesong-cli-"));
  const ports = [await freePort(), await freePort()];
  const startAt = (at: number): Promise<Broker> =>
    Broker.start({ port: ports[at]!, node: `n${at}`, data, logLevel: "silent", drainMs: 20 });
  let broker = await startAt(0);
  t.teardown(async () => {
    await broker.stop(0);
    await rm(data, { recursive: true });
  });
  const url = ports.map((port) => `http://127.0.0.1:${port}`).join(",");
  const env = { WHALESONG_URL: url, WHALESONG_USER: "alice" };
  // Twice each, since a client begins at either.
  for (const text of ["one", "two"]) await succeed(["post", text], env);
  const tail = new Running(["tail", "user:alice", "--from", "earliest", "--limit", "3"], env);
  await tail.says(/live on user:alice/, "stderr");
  await broker.stop();
  broker = await startAt(1);
  await tail.says(new RegExp(`back, on n1 \\(http://127.0.0.1:${ports[1]}\\)`), "stderr");
  await succeed(["post", "three"], env);
  const { status, stdout } = await tail.ended;
  t.equal(status, 0);
  t.match(stdout, /one .*\n.*two .*\n.*three .*\n$/);
});

void test("a reader that goes away ends a tail quietly", async (t) => {
  const as = await start(t);
  for (const text of ["one", "two", "three"]) await succeed(["post", text], as("alice"));
  const tail = new Running(["tail", "user:alice", "--from", "earliest"], as("bob"));
  tail.process.stdout.destroy();
  await tail.says(/live on user:alice/, "stderr").catch(() => {});
  // Whichever line meets the closed pipe ends it.
  await succeed(["post", "four"], as("alice"));
  const { status, stderr } = await tail.ended;
  t.equal(status, 0);
  t.notMatch(stderr, /EPIPE|Error/);
});

void test("token makes what a broker with that secret accepts", async (t) => {
  const secret = "a secret of thirty-two characters";
  const as = await start(t, { authSecret: secret });
  const { WHALESONG_URL = "" } = as("");
  const make = async (...args: string[]): Promise<string> =>
    (await succeed(["token", ...args], { WHALESONG_AUTH_SECRET: secret })).trim();

  const jwt = await make("--sub", "alice");
  const { payload } = await jwtVerify(jwt, new TextEncoder().encode(secret), { algorithms: ["HS256"] });
  t.match(payload, { sub: "alice", scope: "read write" });
  t.equal((payload.exp ?? 0) - (payload.iat ?? 0), 3_600);
  const short = decodeJwt(await make("--sub", "alice", "--scope", "read", "--expires", "90s"));
  t.match(short, { scope: "read" });
  t.equal((short.exp ?? 0) - (short.iat ?? 0), 90);

  await succeed(["post", "hello"], { WHALESONG_URL, WHALESONG_TOKEN: jwt });
  const refused = await whalesong(["post", "hello"], { env: { WHALESONG_URL, WHALESONG_TOKEN: `${jwt}x` } });
  t.match(refused, { status: 1, stderr: /^whalesong: unauthenticated: [^\n]*\n$/ });
  const readOnly = await make("--sub", "alice", "--scope", "read");
  const forbidden = await whalesong(["post", "x"], { env: { WHALESONG_URL, WHALESONG_TOKEN: readOnly } });
  t.match(forbidden, { status: 1, stderr: /^whalesong: forbidden: [^\n]*\n$/ });
});

void test("token takes the secret from the broker's file, and warns of one on the command line", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "whalesong-token-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const [secret, file] = ["a secret of thirty-two characters", join(folder, "secret")];
  await writeFile(file, `${secret}\r\n`, { mode: 0o600 });
  const make = async (args: string[], env: Record<string, string> = {}): Promise<string> => {
    const { status, stdout, stderr } = await whalesong(["token", "--sub", "alice", ...args], { env });
    t.equal(status, 0, stderr);
    await jwtVerify(stdout.trim(), new TextEncoder().encode(secret));
    return stderr;
  };
  t.equal(await make(["--secret-file", file]), "");
  t.equal(await make([], { WHALESONG_AUTH_SECRET_FILE: file }), "");
  t.equal(await make([], { WHALESONG_AUTH_SECRET: secret }), "");
  t.equal(
    await make(["--secret-file", file], { WHALESONG_AUTH_SECRET: "another" }),
    "",
    "a flag beats a variable",
  );
  t.match(
    await make(["--secret", secret], { WHALESONG_AUTH_SECRET_FILE: "/nowhere" }),
    /^whalesong: --secret: everybody [^\n]*--secret-file[^\n]*\n$/,
  );
  const both = await whalesong(["token", "--sub", "a", "--secret", "s", "--secret-file", file]);
  t.match(both, { status: 2, stderr: /give one of them/ });
  const missing = await whalesong(["token", "--sub", "a", "--secret-file", join(folder, "missing")]);
  t.match(missing, { status: 2, stderr: /--secret-file [^\n]*missing: ENOENT/ });
});
