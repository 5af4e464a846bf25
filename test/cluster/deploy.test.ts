/* The files to copy (broker/deploy) are what the programs that read them take, and what Whalesong has: configuration of NATS, systemd
 * units, settings, compose, Prometheus and its alerts. What they do together is in runbook.test.ts. */

import { spawnSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { Command } from "commander";
import { type Test, test } from "tap";
import { parse } from "yaml";

import { addServeOptions, readServeOptions } from "../../broker/flags.ts";
import { type BrokerOptions, defaults } from "../../broker/options.ts";
import { findProgram } from "../../bench/targets/programs.ts";
import { newestNode } from "../package/runtimes.ts";
import { readEnvironment, readUnit } from "./machine.ts";
import { knowsSyncInterval, missingNats } from "./nats-server.ts";

const folder = fileURLToPath(new URL("../../broker/deploy", import.meta.url));
const files = new Set(readdirSync(folder));
const serveOptions = addServeOptions(new Command("serve")).options;

function read(file: string): string {
  return readFileSync(join(folder, file), "utf8");
}

/** A program that Debian has; without it the test says so, and fails in CI. */
function need(t: Test, program: string, install: string): string | undefined {
  const path = findProgram(program);
  if (path !== undefined) return path;
  const message = `${program} is not installed: ${install} (or sh test/setup/packages.sh)`;
  if (process.env["CI"] === "true") t.fail(message);
  else t.pass(`skipped: ${message}`, { skip: message });
  return undefined;
}

function run(
  program: string,
  args: string[],
  env: Record<string, string> = {},
): { status: number | null; said: string } {
  const { PATH = "" } = process.env;
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8", env: { PATH, ...env } });
  return { status, said: `${stdout}${stderr}` };
}

async function scratch(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "whalesong-deploy-"));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

void test("nats-server takes its configuration", async (t) => {
  const missing = missingNats();
  if (missing !== undefined) return void need(t, "nats-server", "apt-get install nats-server");
  const path = await scratch(t);
  const made = run("sh", [join(folder, "certificates.sh"), join(path, "certs"), "nats-1"]);
  t.equal(made.status, 0, made.said);
  const text = read("nats-server.conf").replaceAll("/etc/nats/certs", join(path, "certs/nats-1"));
  const check = (configuration: string): { status: number | null; said: string } => {
    const file = join(path, "nats-server.conf");
    writeFileSync(file, configuration);
    return run(findProgram("nats-server")!, ["-t", "-c", file], { NATS_SERVER_NAME: "nats-1" });
  };
  const whole = check(text);
  if (knowsSyncInterval()) t.equal(whole.status, 0, whole.said);
  else
    t.match(
      whole.said.trim(),
      /^nats-server: \S+:\d+:\d+: unknown field "sync_interval"$/,
      "nothing but what it is too old for",
    );
  const older = check(text.replace(/^ *sync_interval.*\n/m, ""));
  t.equal(older.status, 0, older.said);
  t.match(older.said, /is valid/);
  const misspelt = check(text.replace("verify_and_map", "verify_or_map"));
  t.not(misspelt.status, 0, "and it would say so if it did not know a setting");
});

void test("certificates are made once, and are what they are for", async (t) => {
  const openssl = need(t, "openssl", "apt-get install openssl");
  if (openssl === undefined) return;
  const path = join(await scratch(t), "certs");
  const make = (...servers: string[]): { status: number | null; said: string } =>
    run("sh", [join(folder, "certificates.sh"), path, ...servers]);
  t.equal(make("nats-1", "nats-2,10.0.0.2,two.example").status, 0);
  const before = readFileSync(join(path, "nats-1/server.pem"), "utf8");
  t.equal(
    make("nats-1", "nats-3").said.trim(),
    join(path, "nats-3/server.pem"),
    "run again it makes what is missing",
  );
  t.equal(readFileSync(join(path, "nats-1/server.pem"), "utf8"), before);
  const purpose = { server: /sslserver|TLS Web Server/, client: /TLS Web Client/ };
  for (const [who, kind, name] of [
    ["nats-1", "server", "DNS:nats-1"],
    ["nats-2", "server", "DNS:nats-2, IP Address:10.0.0.2, DNS:two.example"],
    ["whalesong", "client", "CN ?= ?whalesong"],
  ] as const) {
    const certificate = join(path, who, `${kind}.pem`);
    t.match(run(openssl, ["verify", "-CAfile", join(path, who, "ca.pem"), certificate]).said, /: OK/);
    const text = run(openssl, ["x509", "-noout", "-text", "-in", certificate]).said;
    t.match(text, new RegExp(name));
    t.match(text, purpose[kind]);
    t.match(text, /CA:FALSE/);
  }
  t.equal(make().status, 2);
});

void test("systemd takes the units", async (t) => {
  const analyze = findProgram("systemd-analyze");
  const path = await scratch(t);
  await mkdir(join(path, "bin"));
  for (const name of ["whalesong", "nats-server"]) {
    const file = `${name}.service`;
    const unit = readUnit(read(file));
    const [program, ...args] = unit["ExecStart"]!.split(" ");
    if (analyze !== undefined) {
      // It looks whether what it would start is there.
      await copyFile("/bin/true", join(path, "bin", name));
      writeFileSync(join(path, file), read(file).replace(program!, join(path, "bin", name)));
      const verified = run(analyze, ["verify", "--man=no", join(path, file)]);
      t.equal(verified.status, 0, `${file}: ${verified.said}`);
      t.notMatch(verified.said, name, "without a warning");
    }
    t.equal(program!.split("/").at(-1), name);
    t.ok(Number(unit["TimeoutStopSec"]) >= 60, "it may take its time to stop");
    if (name === "whalesong") {
      t.equal(args.shift(), "serve");
      for (const flag of args.filter((arg) => arg.startsWith("-")))
        t.ok(
          serveOptions.some(({ long }) => long === flag),
          `whalesong serve has ${flag}`,
        );
    } else {
      t.ok(run(findProgram("nats-server") ?? "nats-server", ["--help"]).said.includes(args[0]!));
    }
    t.ok(files.has(unit["EnvironmentFile"]!.split("/").at(-1)!), "its settings are among the files");
  }
  const drain = readEnvironment(read("whalesong.env"))["WHALESONG_DRAIN"]!;
  t.ok(
    Number(readUnit(read("whalesong.service"))["TimeoutStopSec"]) > Number.parseInt(drain, 10),
    "longer than the drain",
  );
});

void test("settings are what `whalesong serve` takes, and compose gives each node the same", async (t) => {
  const node = readEnvironment(read("whalesong.env"));
  const secret = "0123456789abcdef0123456789abcdef";
  t.equal(node["WHALESONG_AUTH_SECRET"], "", "everybody makes a secret of their own");
  const { node: name, clusterReplicas, ...ofUnit } = optionsOf({ ...node, WHALESONG_AUTH_SECRET: secret });
  t.equal(name, "whalesong-1");
  t.equal(clusterReplicas, 3);
  t.not(ofUnit.drainMs, defaults.drainMs, "the file is what was read");
  const { services } = parse(read("compose.yaml"), { merge: true }) as Compose;
  for (const n of [1, 2, 3]) {
    const { environment = {} } = services[`whalesong-${n}`]!;
    t.match(environment["WHALESONG_AUTH_SECRET"], /^\$\{WHALESONG_AUTH_SECRET:\?/, "asked for");
    const ofNode = optionsOf({ ...environment, WHALESONG_AUTH_SECRET: secret });
    t.equal(ofNode.node, `whalesong-${n}`);
    const { drainMs, workers } = ofNode; // three nodes share one machine here
    t.same(ofNode, { ...ofUnit, node: ofNode.node, clusterReplicas, drainMs, workers });
  }
});

/** What `serve` makes of these variables alone. @throws for one that it does not know or take */
function optionsOf(variables: Record<string, string | number>): BrokerOptions {
  for (const variable of Object.keys(variables)) {
    if (!serveOptions.some(({ envVar }) => envVar === variable)) throw new Error(`serve has no ${variable}`);
  }
  const before = process.env;
  process.env = Object.fromEntries(Object.entries(variables).map(([key, value]) => [key, String(value)]));
  try {
    return readServeOptions(addServeOptions(new Command("serve")).parse([], { from: "user" }));
  } finally {
    process.env = before;
  }
}

interface Service {
  environment?: Record<string, string | number>;
  volumes?: string[];
  command?: string[];
  ports?: string[];
  build?: { context: string; dockerfile: string };
}

interface Compose {
  services: Record<string, Service>;
  volumes: Record<string, null>;
}

void test("compose mounts what is there, and is three servers and three nodes", (t) => {
  const { services, volumes } = parse(read("compose.yaml"), { merge: true }) as Compose;
  t.same(Object.keys(services), [
    "nats-1",
    "nats-2",
    "nats-3",
    "whalesong-1",
    "whalesong-2",
    "whalesong-3",
    "prometheus",
  ]);
  const ports = Object.values(services).flatMap((service) => service.ports ?? []);
  t.equal(new Set(ports).size, 4);
  for (const port of ports) t.match(port, /^127\.0\.0\.1:\d+:\d+$/, "nothing is open to others");
  for (const [name, service] of Object.entries(services)) {
    for (const mount of service.volumes ?? []) {
      const [source, target] = mount.split(":");
      if (!source!.startsWith("./")) t.ok(Object.hasOwn(volumes, source!), `${name}: ${source} is a volume`);
      else if (source!.startsWith("./certs/")) t.match(source, /^\.\/certs\/(nats-[123]|whalesong)$/);
      else t.ok(files.has(source!.slice(2)), `${name}: ${source} is among the files`);
      t.match(target, /^\//);
    }
  }
  for (const n of [1, 2, 3]) {
    const nats = services[`nats-${n}`]!;
    t.same(nats.environment, { NATS_SERVER_NAME: `nats-${n}` });
    t.ok(nats.volumes!.includes(`./certs/nats-${n}:/etc/nats/certs:ro`));
    const { build, volumes: mounts } = services[`whalesong-${n}`]!;
    t.match(
      readFileSync(join(folder, build!.context, build!.dockerfile), "utf8"),
      /^ENTRYPOINT \["whalesong"\]$/m,
    );
    t.ok(mounts!.includes(`whalesong-${n}:/var/lib/whalesong`));
  }
  // Where the files are looked for inside is where the configuration looks for them.
  for (const path of ["/etc/nats/certs/ca.pem", "store_dir: /var/lib/nats"])
    t.ok(read("nats-server.conf").includes(path));
  const compose = findProgram("docker-compose");
  if (compose !== undefined) {
    const checked = run(compose, ["-f", join(folder, "compose.yaml"), "config", "-q"], {
      WHALESONG_AUTH_SECRET: "x",
    });
    t.equal(checked.status, 0, checked.said);
  }
  t.end();
});

void test("the image starts a command that there is, on a Node.js that will do", (t) => {
  const dockerfile = read("Dockerfile");
  const manifest = JSON.parse(readFileSync(join(folder, "../../package.json"), "utf8")) as {
    bin: Record<string, string>;
    scripts: Record<string, string>;
    engines: { node: string };
  };
  const [, command] = /^ENTRYPOINT \["([\w-]+)"\]$/m.exec(dockerfile)!;
  t.ok(Object.hasOwn(manifest.bin, command!));
  const [, rest] = /^CMD (\[.*\])$/m.exec(dockerfile)!;
  const [verb, ...args] = JSON.parse(rest!) as string[];
  t.equal(verb, "serve");
  for (const flag of args.filter((arg) => arg.startsWith("-")))
    t.ok(serveOptions.some(({ long }) => long === flag));
  for (const [, script] of dockerfile.matchAll(/npm run (\w+)/g))
    t.ok(Object.hasOwn(manifest.scripts, script!));
  const named = [...dockerfile.matchAll(/^FROM node:(\d+)/gm)].map(([, version]) => Number(version));
  t.strictSame(named, [newestNode, newestNode], "the newest that the package is tried on");
  t.ok(newestNode >= Number(/(\d+)/.exec(manifest.engines.node)![1]));
  t.end();
});
