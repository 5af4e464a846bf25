/* How a node proves to NATS who it is: a token, or credentials as `nsc` makes them. (Certificates: rights.test.ts.)
 *
 * Only a node that NATS lets in becomes ready: what it does there, found its cluster and take a post, shows that it was. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { connect, nkeys } from "nats";
import tap, { type Test } from "tap";

import { Broker } from "../../broker/broker.ts";
import type { BrokerOptions } from "../../broker/options.ts";
import { NatsServers, natsTest } from "./nats-server.ts";

const timeoutMs = 60_000;

type KeyPair = ReturnType<typeof nkeys.createUser>;

async function folderOf(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "whalesong-credentials-"));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
}

async function postThrough(t: Test, options: Partial<BrokerOptions>): Promise<void> {
  const broker = await Broker.start({ port: 0, logLevel: "silent", ...options });
  t.teardown(() => broker.stop(0));
  let ready: Response;
  do ready = await fetch(`${broker.url}/readyz`);
  while (ready.status === 503);
  t.equal(ready.status, 200);
  const posted = await fetch(`${broker.url}/v1/posts?user=alice`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ text: "hello" }),
  });
  t.equal(posted.status, 201);
}

/** A JWT of NATS: who `by` says that `of` is (NATS documentation, "JWTs"). */
function claim(by: KeyPair, of: KeyPair, name: string, nats: object): string {
  const text = [
    { typ: "JWT", alg: "ed25519-nkey" },
    {
      iss: by.getPublicKey(),
      sub: of.getPublicKey(),
      name,
      iat: 1_700_000_000,
      nats: { version: 2, ...nats },
    },
  ]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  return `${text}.${Buffer.from(by.sign(Buffer.from(text))).toString("base64url")}`;
}

/** An operator with one account beside the system's, and credentials of one user of it. */
function hierarchy(): { configuration: string; credentials: string } {
  const operator = nkeys.createOperator();
  const [system, account, user] = [nkeys.createAccount(), nkeys.createAccount(), nkeys.createUser()];
  const unlimited = {
    subs: -1,
    data: -1,
    payload: -1,
    imports: -1,
    exports: -1,
    wildcards: true,
    conn: -1,
    leaf: -1,
  };
  const storage = { mem_storage: -1, disk_storage: -1, streams: -1, consumer: -1 };
  const jwts = {
    operator: claim(operator, operator, "O", { type: "operator", system_account: system.getPublicKey() }),
    system: claim(operator, system, "SYS", { type: "account", limits: unlimited }),
    account: claim(operator, account, "A", { type: "account", limits: { ...unlimited, ...storage } }),
    user: claim(account, user, "node", { type: "user", pub: {}, sub: {}, subs: -1, data: -1, payload: -1 }),
  };
  const configuration = `operator: ${jwts.operator}
resolver: MEMORY
resolver_preload: { ${system.getPublicKey()}: ${jwts.system}, ${account.getPublicKey()}: ${jwts.account} }`;
  const credentials = `-----BEGIN NATS USER JWT-----
${jwts.user}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
${Buffer.from(user.getSeed()).toString()}
------END USER NKEY SEED------
`;
  return { configuration, credentials };
}

await natsTest(tap, "by a token", { timeoutMs }, async (t) => {
  const nats = await NatsServers.for(t, { configuration: 'authorization { token: "s3cret" }' });
  await t.rejects(connect({ servers: nats.urls }), { code: "AUTHORIZATION_VIOLATION" });
  await postThrough(t, { nats: nats.urls.split(","), natsToken: "s3cret", data: await folderOf(t) });
});

await natsTest(tap, "by a file of credentials", { timeoutMs }, async (t) => {
  const { configuration, credentials } = hierarchy();
  const nats = await NatsServers.for(t, { configuration });
  await t.rejects(connect({ servers: nats.urls }), { code: "AUTHORIZATION_VIOLATION" });
  const folder = await folderOf(t);
  const natsCreds = join(folder, "node.creds");
  await writeFile(natsCreds, credentials);
  await postThrough(t, { nats: nats.urls.split(","), natsCreds, data: join(folder, "data") });
});

await natsTest(tap, "a file that is not there is named at once", { timeoutMs }, async (t) => {
  const data = await folderOf(t);
  const missing = join(data, "nowhere.creds");
  await t.rejects(
    Broker.start({ port: 0, logLevel: "silent", nats: ["nats://127.0.0.1:4222"], natsCreds: missing, data }),
    {
      name: "OptionsError",
      message: /natsCreds: .*nowhere/,
    },
  );
});
