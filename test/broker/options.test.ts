/* Options: what is refused before anything is opened, and in which words. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import tap from "tap";

import { addServeOptions, readServeOptions } from "../../broker/flags.ts";
import { OptionsError, checkOptions } from "../../broker/options.ts";

const folder = await mkdtemp(join(tmpdir(), "whalesong-"));
tap.teardown(() => rm(folder, { recursive: true }));

function parse(args: string[]): ReturnType<typeof readServeOptions> {
  const command = addServeOptions(new Command("serve"))
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  command.parse(args, { from: "user" });
  return readServeOptions(command);
}

await tap.test("open mode listens on loopback only", async (t) => {
  for (const host of ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
    t.equal(checkOptions({ host }).host, host);
  for (const host of ["0.0.0.0", "::", "192.168.0.1", "example.com"]) {
    t.throws(() => checkOptions({ host }), OptionsError, host);
  }
  t.equal(checkOptions({ host: "0.0.0.0", authSecret: "s" }).host, "0.0.0.0");
});

await tap.test("flags beat variables beat the config file beat the defaults", async (t) => {
  const config = join(folder, "good.json");
  await writeFile(
    config,
    JSON.stringify({ port: 1111, "retain-age": "30d", "cors-origin": ["https://a.example"] }),
  );
  const before = process.env["WHALESONG_PORT"];
  t.teardown(() => {
    if (before === undefined) delete process.env["WHALESONG_PORT"];
    else process.env["WHALESONG_PORT"] = before;
  });
  delete process.env["WHALESONG_PORT"];
  t.match(parse(["--config", config]), {
    port: 1111,
    retainAgeMs: 2_592_000_000,
    corsOrigins: ["https://a.example"],
  });
  process.env["WHALESONG_PORT"] = "2222";
  t.equal(parse(["--config", config]).port, 2222);
  t.equal(parse(["--config", config, "--port", "3333"]).port, 3333);
  delete process.env["WHALESONG_PORT"];
  t.equal(parse([]).port, 5252);
});

await tap.test("compress is off unless a flag, a variable or the config file says yes", async (t) => {
  t.teardown(() => delete process.env["WHALESONG_COMPRESS"]);
  t.equal(parse([]).compress, false);
  t.equal(parse(["--compress"]).compress, true);
  t.equal(parse(["--compress", "no"]).compress, false);
  t.throws(() => parse(["--compress", "perhaps"]), /yes or no/);
  const config = join(folder, "compress.json");
  await writeFile(config, JSON.stringify({ compress: true }));
  t.equal(parse(["--config", config]).compress, true);
  process.env["WHALESONG_COMPRESS"] = "no";
  t.equal(parse(["--config", config]).compress, false, "a variable is read, not only seen");
  process.env["WHALESONG_COMPRESS"] = "yes";
  t.equal(parse([]).compress, true);
  t.equal(parse(["--compress", "no"]).compress, false);
});

await tap.test("a config file may be in any encoding that editors save", async (t) => {
  const text = `\ufeff{\r\n  "port": 4321\r\n}\r\n`;
  for (const [name, bytes] of [
    ["utf-8.json", Buffer.from(text)],
    ["utf-16le.json", Buffer.from(text, "utf16le")],
    ["utf-16be.json", Buffer.from(text, "utf16le").swap16()],
  ] as const) {
    const config = join(folder, name);
    await writeFile(config, bytes);
    t.match(parse(["--config", config]), { port: 4321 }, name);
  }
});

await tap.test("a config file that is no map of known options is refused", async (t) => {
  for (const [text, message] of [
    ["[]", /JSON map/],
    ["7", /JSON map/],
    ["{", /JSON/],
    ['{"prot": 1}', /"prot"/],
    ['{"port": "x"}', /port/],
    ['{"log-level": "loud"}', /log-level: one of/],
  ] as const) {
    const config = join(folder, "bad.json");
    await writeFile(config, text);
    t.throws(() => parse(["--config", config]), { name: "OptionsError", message });
  }
});

await tap.test("values that cannot be meant are refused, naming the range or the shape", async (t) => {
  for (const [name, value] of [
    ["pingMs", 0],
    ["cursorMs", 0],
    ["retainCount", 0],
    ["retainAgeMs", 0],
    ["drainMs", 30 * 86_400_000],
    ["port", 65_536],
    ["noProgressMs", Number.NaN],
  ] as const) {
    t.throws(() => checkOptions({ [name]: value }), {
      name: "OptionsError",
      message: new RegExp(`^${name}: from `),
    });
  }
  for (const origin of ["not an origin", "https://a.example/", "a.example", "", " "]) {
    t.throws(() => checkOptions({ corsOrigins: [origin] }), { message: /^corsOrigins: / });
  }
  t.same(checkOptions({ corsOrigins: ["*", "https://a.example:8443"] }).corsOrigins.length, 2);
  t.throws(() => checkOptions({ prot: 1 } as object), { message: /^prot: / });
});

await tap.test("keys come over https, from a file, or from this machine", async (t) => {
  for (const jwks of [
    "https://a.example/keys",
    "keys.json",
    "file:///keys.json",
    "http://127.0.0.1:1/",
    "http://[::1]/k",
    "HTTP://localhost/k",
  ])
    t.equal(checkOptions({ jwks }).jwks, jwks);
  for (const jwks of [
    "http://a.example/keys",
    "HTTP://10.0.0.1/keys",
    "http://localhost.a.example/k",
    "http://127.0.0.1@a.example/",
  ])
    t.throws(() => checkOptions({ jwks }), { name: "OptionsError", message: /^jwks: .*https:/ }, jwks);
});

await tap.test("an origin is any scheme, host and port that browsers and apps send, or null", async (t) => {
  for (const origin of [
    "null",
    "http://localhost:8080",
    "https://xn--bcher-kva.example",
    "http://[::1]:8080",
    "capacitor://localhost",
    "ionic://localhost",
    "tauri://localhost",
    "app://obsidian.md",
    "app://-",
    "file://",
    "chrome-extension://aapbdbdomjkkjkaonfhkkikfgjllcleb",
    "moz-extension://3f1b6e0c-9d1e-4a3f-8a2b-0c1d2e3f4a5b",
    "vscode-webview://0abc",
    "custom+scheme://host:1234",
  ])
    t.same(checkOptions({ corsOrigins: [origin] }).corsOrigins, [origin], origin);
  for (const [origin, mend] of [
    ["https://A.example", "https://a.example"],
    ["https://a.example/", "https://a.example"],
    ["https://a.example:443", "https://a.example"],
    ["https://bücher.example", "https://xn--bcher-kva.example"],
    ["Capacitor://Localhost", "capacitor://localhost"],
    ["capacitor://localhost/", "capacitor://localhost"],
    ["https://a.example/path?x#y", "https://a.example"],
    [" https://a.example", "https://a.example"],
  ] as const)
    t.throws(() => checkOptions({ corsOrigins: [origin] }), {
      message: `corsOrigins: ${JSON.stringify(origin)} is no origin; browsers send it as ${mend};`,
    });
  for (const origin of [
    "https://*.a.example",
    "*.a.example",
    "localhost",
    "mailto:a@b",
    "data:x",
    "nul",
    "://x",
    "capacitor://",
  ])
    t.throws(
      () => checkOptions({ corsOrigins: [origin] }),
      { message: /^corsOrigins: .* is no origin; one/ },
      origin,
    );
  t.same(parse(["--cors-origin", "https://a.example, capacitor://localhost,null"]).corsOrigins, [
    "https://a.example",
    "capacitor://localhost",
    "null",
  ]);
});

await tap.test("a node of a cluster has a name of its own, and its answers wait for NATS", async (t) => {
  const nats = ["--nats", "nats://a:4222,nats://b:4222"];
  const node = parse([...nats, "--port", "7000", "--retain-age", "1h"]);
  t.match(node, { nats: ["nats://a:4222", "nats://b:4222"], cluster: "whalesong", clusterReplicas: 1 });
  t.match(node.node, /.-7000$/);
  t.equal(parse([...nats, "--node", "n1"]).node, "n1");
  t.equal(parse([]).node, "whalesong");
  t.throws(() => parse([...nats, "--sync", "periodic"]), /answer waits for NATS/);
  for (const cluster of ["", "Big", "a.b", "a b", "1st", "x".repeat(33)])
    t.throws(() => parse([...nats, "--cluster", cluster]), /cluster:/, cluster);
  t.throws(() => parse([...nats, "--cluster-replicas", "6"]), /clusterReplicas: from 1 to 5/);
});
