/* Keys at a URL, from a real server, by a clock that the test moves. */

import { once } from "node:events";
import { type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { type JWTVerifyGetKey, SignJWT, errors, exportJWK, generateKeyPair, jwtVerify } from "jose";
import tap, { type Test } from "tap";

import { RemoteKeys } from "../../broker/sessions/remote-keys.ts";
import type { WhalesongError } from "../../protocol/index.ts";
import { call, startBroker } from "../transports/server.ts";

type KeyPair = Awaited<ReturnType<typeof generateKeyPair>>;
const minuteMs = 60_000;

class KeyServer {
  fetches = 0;
  answer: (response: ServerResponse) => void = () => {};
  readonly #server: Server;

  static async for(t: Test): Promise<KeyServer> {
    const server = new KeyServer();
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    t.teardown(() => server.stop());
    return server;
  }

  private constructor() {
    this.#server = createServer((_request, response) => {
      this.fetches++;
      this.answer(response);
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/keys`;
  }

  async give(...pairs: [kid: string, pair: KeyPair][]): Promise<void> {
    const keys = await Promise.all(
      pairs.map(async ([kid, { publicKey }]) =>
        Object.assign(await exportJWK(publicKey), { kid, alg: "EdDSA" }),
      ),
    );
    this.answer = (response) => void response.end(JSON.stringify({ keys }));
  }

  fail(): void {
    this.answer = (response) => void response.writeHead(500).end();
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

interface Rig {
  server: KeyServer;
  failures: string[];
  recoveries: () => number;
  advance: (ms: number) => void;
  /** What a token of that key and kid comes to: `taken`, or why not. */
  try: (kid: string, pair: KeyPair) => Promise<string>;
}

async function startRig(t: Test): Promise<Rig> {
  const server = await KeyServer.for(t);
  const failures: string[] = [];
  let recoveries = 0;
  let now = 0;
  const onFailure = (error: unknown): void => void failures.push((error as Error).message);
  const keys = new RemoteKeys(server.url, { onFailure, onRecovery: () => recoveries++ }, () => now);
  return {
    server,
    failures,
    recoveries: () => recoveries,
    advance: (ms) => (now += ms),
    try: (kid, pair) => outcomeOf(keys.find, kid, pair),
  };
}

async function outcomeOf(find: JWTVerifyGetKey, kid: string, pair: KeyPair): Promise<string> {
  const token = await new SignJWT({ sub: "alice" })
    .setProtectedHeader({ alg: "EdDSA", kid })
    .sign(pair.privateKey);
  try {
    await jwtVerify(token, find);
    return "taken";
  } catch (error) {
    return error instanceof errors.JOSEError ? error.code : (error as WhalesongError).code;
  }
}

const [first, second] = await Promise.all([generateKeyPair("EdDSA"), generateKeyPair("EdDSA")]);

await tap.test("known keys stay in force however long their server is away", async (t) => {
  const rig = await startRig(t);
  await rig.server.give(["one", first]);
  t.equal(await rig.try("one", first), "taken");
  rig.server.fail();
  for (const minutes of [1, 11, 60, 24 * 60, 365 * 24 * 60]) {
    rig.advance(minutes * minuteMs);
    t.equal(await rig.try("one", first), "taken", `${minutes} minutes later`);
    t.equal(await rig.try("one", second), "ERR_JWS_SIGNATURE_VERIFICATION_FAILED");
    t.equal(
      await rig.try("two", second),
      "unavailable",
      "a key that may be a new one is not refused for good",
    );
  }
  t.equal(rig.failures.length, 1, "said once");
  await rig.server.give(["two", second]);
  rig.advance(minuteMs);
  t.equal(await rig.try("two", second), "taken");
  t.equal(await rig.try("one", first), "ERR_JWKS_NO_MATCHING_KEY", "what was withdrawn ends");
  t.equal(rig.recoveries(), 1);
});

await tap.test(
  "what the wall clock says does not matter: a rotated key is found half a minute later",
  async (t) => {
    const rig = await startRig(t);
    const { now } = Date;
    await rig.server.give(["one", first]);
    Date.now = () => now() + 24 * 60 * minuteMs;
    try {
      t.equal(await rig.try("one", first), "taken");
    } finally {
      Date.now = now;
    }
    await rig.server.give(["one", first], ["two", second]);
    rig.advance(minuteMs);
    t.equal(await rig.try("two", second), "taken");
    t.equal(rig.server.fetches, 2);
    for (let i = 0; i < 50; i++) await rig.try(`made-up-${i}`, second);
    t.equal(rig.server.fetches, 2, "made-up keys do not make it be asked");
  },
);

await tap.test("while the server is away all who ask back off together", async (t) => {
  const rig = await startRig(t);
  rig.server.fail();
  const ask = async (count: number): Promise<void> => {
    const outcomes = await Promise.all(Array.from({ length: count }, (_, i) => rig.try(`kid-${i}`, first)));
    if (outcomes.some((outcome) => outcome !== "unavailable")) t.fail(outcomes.join());
  };
  await ask(50);
  await ask(50);
  await ask(50);
  t.equal(rig.server.fetches, 2, "one under way at a time, and the third has to wait");
  for (let i = 0; i < 100; i++) {
    await ask(5);
    rig.advance(100);
  }
  t.ok(rig.server.fetches <= 8, `${rig.server.fetches} in ten seconds`);
  t.equal(rig.failures.length, 1);
  t.match(rig.failures[0], /^JWKS http:\/\/127.0.0.1:\d+\/keys: the answer has status 500; 200 is needed$/);
  rig.advance(minuteMs);
  await rig.server.give(["one", first]);
  t.equal(await rig.try("one", first), "taken");
  t.equal(rig.recoveries(), 1);
});

await tap.test("an answer counts when it is a set of a megabyte at most, and no redirect", async (t) => {
  const rig = await startRig(t);
  const elsewhere = await KeyServer.for(t);
  await elsewhere.give(["one", first]);
  let sent = 0;
  const isOver = new Promise<void>((resolve) => {
    rig.server.answer = (response) => {
      const chunk = Buffer.alloc(65_536, " ");
      const more = (): void => {
        if (sent > 300_000_000) response.end();
        else {
          sent += chunk.length;
          response.write(chunk, () => setImmediate(more));
        }
      };
      response.on("error", () => {}).on("close", resolve);
      more();
    };
  });
  t.equal(await rig.try("one", first), "unavailable");
  await isOver;
  t.ok(sent < 100_000_000, `it was cut off after ${sent} bytes`);
  t.match(rig.failures[0], /over 1048576 bytes/);
  for (const answer of [
    (response: ServerResponse) => response.writeHead(302, { location: elsewhere.url }).end(),
    (response: ServerResponse) => response.end("<html>"),
    (response: ServerResponse) => response.end("{}"),
    (response: ServerResponse) => response.end("null"),
    (response: ServerResponse) => response.end('{"keys":[1]}'),
    (response: ServerResponse) => response.destroy(),
  ]) {
    rig.server.answer = answer;
    rig.advance(minuteMs);
    t.equal(await rig.try("one", first), "unavailable");
  }
  t.equal(elsewhere.fetches, 0);
  rig.advance(minuteMs);
  await rig.server.give(["one", first]);
  t.equal(await rig.try("one", first), "taken");
});

await tap.test("an answer that does not come is given up", async (t) => {
  const rig = await startRig(t);
  rig.server.answer = (response) => void response.writeHead(200).write("{");
  t.equal(await rig.try("one", first), "unavailable");
  t.match(rig.failures[0], /timeout/i);
});

await tap.test("a broker whose key server stops goes on with the tokens it knows the keys of", async (t) => {
  const server = await KeyServer.for(t);
  await server.give(["one", first]);
  const { url } = await startBroker(t, { jwks: server.url });
  const sign = (kid: string): Promise<string> =>
    new SignJWT({ sub: "alice", scp: ["read"] })
      .setProtectedHeader({ alg: "EdDSA", kid })
      .sign(first.privateKey);
  const token = await sign("one");
  t.equal((await call(url, "GET /v1/users/alice/home", { token })).status, 200);
  server.stop();
  t.equal((await call(url, "GET /v1/users/alice/home", { token })).status, 200);
  t.match((await call(url, "POST /v1/posts", { token, body: { text: "hi" } })).error, { code: "forbidden" });
  t.match(await call(url, "GET /v1/users/alice/home", { token: await sign("two") }), { status: 401 });
});
