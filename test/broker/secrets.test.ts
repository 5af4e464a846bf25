/* Secrets: read from a file, and warned of where others can read them; tokens that are taken too easily are warned of, too. */

import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Command } from "commander";
import tap from "tap";

import { addServeOptions, exposedSecrets, readServeOptions } from "../../broker/flags.ts";
import { type BrokerOptions, checkOptions } from "../../broker/options.ts";
import { holdsPassword, readSecret, warningsOf, withoutPassword } from "../../broker/secrets.ts";
import { call, secret, startBroker, tokenFor } from "../transports/server.ts";

const folder = await mkdtemp(join(tmpdir(), "whalesong-secrets-"));
tap.teardown(() => rm(folder, { recursive: true }));

async function file(name: string, text: string | Uint8Array, mode = 0o600): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  await chmod(path, mode);
  return path;
}

function parse(...args: string[]): Command {
  const command = addServeOptions(new Command("serve")).exitOverride();
  return command.parse(args, { from: "user" });
}

const warned = (options: Partial<BrokerOptions>): string[] => warningsOf(checkOptions(options));

const fileWarningsOf = (options: Partial<BrokerOptions>): string[] =>
  warned(options).filter((warning) => warning.startsWith("--"));

await tap.test("the secret may stand in a file, with or without the end of its line", async (t) => {
  for (const [name, text] of [
    ["plain", secret],
    ["unix", `${secret}\n`],
    ["dos", `${secret}\r\n`],
    ["bom", `\uFEFF${secret}\n`],
  ] as const) {
    const path = await file(name, text);
    t.equal(readSecret(path), secret, name);
  }
  const { url, isOpen } = await startBroker(t, { authSecretFile: join(folder, "unix") });
  t.equal(isOpen, false);
  t.equal((await call(url, "GET /v1/users/alice/home", { token: await tokenFor("alice") })).status, 200);
  t.equal((await call(url, "GET /v1/users/alice/home?user=alice")).status, 401);
});

await tap.test("a file that holds no secret is refused, and never makes a broker open", async (t) => {
  const missing = join(folder, "missing");
  await t.rejects(startBroker(t, { authSecretFile: missing }), { name: "OptionsError", message: missing });
  await t.rejects(startBroker(t, { authSecretFile: await file("empty", "\n") }), /32 bytes at least/);
  await t.rejects(
    startBroker(t, { authSecretFile: await file("binary", Buffer.alloc(32, 0xe9)) }),
    /not UTF-8/,
  );
  await t.rejects(startBroker(t, { authSecretFile: folder }), { name: "OptionsError" });
  t.throws(() => checkOptions({ authSecretFile: "x", authSecret: secret }), /one or the other/);
  t.throws(() => checkOptions({ authSecretFile: "x", jwks: "y" }), /one or the other/);
  t.equal(checkOptions({ authSecretFile: "x", host: "0.0.0.0" }).host, "0.0.0.0");
});

await tap.test("a secret on the command line is warned of, in a variable it is not", async (t) => {
  const variables = ["WHALESONG_AUTH_SECRET", "WHALESONG_NATS_TOKEN"];
  t.teardown(() => variables.forEach((name) => delete process.env[name]));
  t.match(exposedSecrets(parse("--auth-secret", secret)), [/^--auth-secret: .*--auth-secret-file/]);
  t.match(exposedSecrets(parse("--nats-token", "s3cret")), [/^--nats-token: .*WHALESONG_NATS_TOKEN/]);
  t.match(exposedSecrets(parse("--nats", "nats://a:4222,nats://me:s3cret@b:4222")), [
    /^--nats: .*WHALESONG_NATS/,
  ]);
  t.same(exposedSecrets(parse("--nats", "nats://a:4222", "--port", "1", "--auth-secret-file", "x")), []);
  for (const name of variables) process.env[name] = secret;
  t.same(exposedSecrets(parse()), []);
});

await tap.test("a file with a secret that others can read is warned of", async (t) => {
  for (const mode of [0o644, 0o604, 0o602, 0o666]) {
    const config = await file(`config-${mode}`, JSON.stringify({ "auth-secret": secret }), mode);
    t.match(exposedSecrets(parse("--config", config)), [/^--config: .*chmod o-rwx/], mode.toString(8));
    const plain = await file(`plain-${mode}`, JSON.stringify({ port: 1 }), mode);
    t.same(exposedSecrets(parse("--config", plain)), [], "it holds none");
    const path = await file(`secret-${mode}`, secret, mode);
    for (const name of ["authSecretFile", "natsCreds", "natsTlsKey"] as const)
      t.match(fileWarningsOf({ [name]: path }), [/others on this machine/], name);
  }
  for (const mode of [0o600, 0o400, 0o640]) {
    const config = await file(`config-${mode}`, JSON.stringify({ "nats-token": secret }), mode);
    t.same(exposedSecrets(parse("--config", config)), [], mode.toString(8));
    t.same(fileWarningsOf({ natsCreds: config, natsTlsKey: config }), []);
  }
  t.same(fileWarningsOf({ natsCreds: join(folder, "missing") }), [], "whoever opens it says so");
});

await tap.test("tokens for anybody, and tokens without an end, are warned of unless ruled out", async (t) => {
  for (const way of [{ authSecret: secret }, { jwks: "https://a.example/keys" }]) {
    t.match(warned(way), [/--audience/, /--max-token-age/]);
    t.match(warned({ ...way, audience: "whalesong" }), [/--max-token-age/]);
    t.match(warned({ ...way, maxTokenAgeMs: 86_400_000 }), [/--audience/]);
    t.same(warned({ ...way, audience: "whalesong", maxTokenAgeMs: 86_400_000 }), []);
  }
  t.same(warned({}), [], "open mode takes no tokens");
});

await tap.test("with a greatest age tokens need an iat, and end by it", async (t) => {
  const options = readServeOptions(parse("--auth-secret", secret, "--max-token-age", "1h"));
  t.equal(options.maxTokenAgeMs, 3_600_000);
  const { url } = await startBroker(t, { authSecret: secret, maxTokenAgeMs: 3_600_000 });
  const ask = async (iat: number | undefined): Promise<[number, string | undefined]> => {
    const { status, error } = await call(url, "GET /v1/users/alice/home", {
      token: await tokenFor("alice", { iat }),
    });
    return [status, error?.message];
  };
  const now = Math.floor(Date.now() / 1_000);
  t.match(await ask(undefined), [401, /no `iat`, which is needed here/]);
  t.match(await ask(now - 3_700), [401, /older than tokens may be here/]);
  t.match(await ask(now + 600), [401, /`iat` is in the future/]);
  t.match(await ask(now - 3_000), [200]);
});

await tap.test("a file of keys that others can write is warned of: who writes it makes tokens", async (t) => {
  const keys = JSON.stringify({ keys: [] });
  for (const [mode, warnings] of [
    [0o644, []],
    [0o646, [/^--jwks: others on this machine can change .*keys.*: chmod o-w /]],
  ] as const)
    t.match(fileWarningsOf({ jwks: await file(`keys-${mode}`, keys, mode) }), warnings);
  t.same(fileWarningsOf({ jwks: await file("keys", keys, 0o644) }), []);
  t.same(fileWarningsOf({ jwks: "https://keys.example/jwks.json" }), []);
});

await tap.test("a password for NATS is not printed", async (t) => {
  for (const [url, printed] of [
    ["nats://ann:secret@10.0.0.1:4222", "nats://…@10.0.0.1:4222"],
    ["tls://token@nats.example", "tls://…@nats.example"],
  ] as const)
    t.same([holdsPassword(url), withoutPassword(url)], [true, printed]);
  t.same(
    [holdsPassword("nats://10.0.0.1:4222"), withoutPassword("nats://10.0.0.1:4222")],
    [false, "nats://10.0.0.1:4222"],
  );
});
