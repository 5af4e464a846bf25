/* How the commands are to be used, and what they say when they are not. */

import { test } from "tap";

import { whalesong } from "./whalesong.ts";

void test("wrong usage is status 2 and says what is wrong", async (t) => {
  const url = { WHALESONG_URL: "ws://127.0.0.1:1" };
  const cases: [string[], RegExp][] = [
    [["post"], /missing required argument/],
    [["post", "x"], /--user HANDLE/],
    [["post", "x", "--user", "a", "--data", "{"], /--data: not valid JSON/],
    [["tail", "--limit", "0", "--user", "a"], /whole number from 1/],
    [["tail", "--nonsense"], /unknown option/],
    [["post", "x", "--user", "a", "--url", "ftp://x"], /--url: an address like/],
    [["token", "--sub", "alice"], /WHALESONG_AUTH_SECRET/],
    [["token", "--sub", "a", "--secret", "s".repeat(31)], /32 bytes at least, or no broker takes it; got 31/],
    [["token", "--sub", "a b", "--secret", "s"], /--sub: handle "a b"/],
    [["token", "--sub", "a", "--secret", "s", "--scope", "reed"], /"reed" is none of read, write/],
    [["token", "--sub", "a", "--secret", "s", "--expires", "soon"], /like 15m; got "soon"/],
  ];
  await Promise.all(
    cases.map(async ([args, said]) => {
      const { status, stderr } = await whalesong(args, { env: url });
      t.equal(status, 2, args.join(" "));
      t.match(stderr, said);
    }),
  );
});

void test("a password for NATS on a command line is warned of, whichever command has it", async (t) => {
  const secrets = [
    ["--nats", "nats://u:pw@127.0.0.1:1"],
    ["--nats", "nats://127.0.0.1:1", "--nats-token", "pw"],
  ];
  for (const args of secrets) {
    const { status, stderr } = await whalesong(["cluster", "status", ...args]);
    t.equal(status, 1);
    t.match(stderr, /^whalesong: --nats(-token)?: everybody on this machine sees a command line/);
  }
  const { stderr } = await whalesong(["cluster", "status", "--nats", "nats://127.0.0.1:1"]);
  t.notMatch(stderr, /everybody/);
});

void test("every command has help with an example", async (t) => {
  const commands = [
    "post",
    "follow",
    "unfollow",
    "tail",
    "read",
    "token",
    "replay",
    "backup",
    "restore",
    "doctor",
  ];
  const overview = (await whalesong(["--help"])).stdout;
  await Promise.all(
    commands.map(async (command) => {
      t.match(overview, new RegExp(`^  ${command} `, "m"));
      t.match((await whalesong([command, "--help"])).stdout, /Examples?:\n  \$ whalesong /, command);
    }),
  );
});
