/* Doctor: whether a broker can run here, and what to mend.
 *
 * Looks and changes nothing. Each check stands alone: one that throws is a failed check, not the end of the others. */

import { access, constants, readFile, stat, statfs } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";

import { type Command, InvalidArgumentError, Option } from "commander";

import { readApart } from "./apart.ts";
import { FolderError } from "./state/folder.ts";
import { type FolderReport, inspectDataFolder } from "./state/folder-lock.ts";
import { refuseLostStore } from "./state/opening.ts";
import { ReaderIdError } from "./state/reader-id.ts";

export interface Check {
  name: string;
  status: "ok" | "warn" | "fail";
  /** What is so. */
  found: string;
  /** What to do about it. */
  mend?: string;
}

export interface DoctorOptions {
  data: string;
  host: string;
  port: number;
}

const mebibyte = 1024 * 1024;
/** Less free space is a warning, and so little a failure. */
const lowFreeBytes = 1024 * mebibyte;
const leastFreeBytes = 64 * mebibyte;
/** Fewer open files are a warning: each connection takes one. */
const lowOpenFiles = 10_000;
const leastOpenFiles = 256;
/** How long a broker at the port may take to say that it is one. */
const greetingMs = 1_000;

export function registerDoctor(program: Command): void {
  program
    .command("doctor")
    .summary("check whether a broker can run here")
    .description(
      "Checks the data folder, the port, limits and versions, and says what to mend. Changes nothing.",
    )
    .addOption(new Option("--data <folder>", "the data folder").env("WHALESONG_DATA").default("./data"))
    .addOption(new Option("--host <address>", "where to listen").env("WHALESONG_HOST").default("127.0.0.1"))
    .addOption(
      new Option("--port <n>", "where to listen").env("WHALESONG_PORT").default(5252).argParser(parsePort),
    )
    .option("--json", "one line of JSON")
    .option("--digest", "print the head and a digest of the store instead, to compare nodes")
    .addHelpText(
      "after",
      `
Exit status 1 when any check fails.

Nodes of a cluster that have applied the same commands have the same digest. It is of one moment: compare nodes whose
heads are equal, which they are while nothing is published. It reads the whole store, and may do so beside the broker.

Examples:
  $ whalesong doctor
  $ whalesong doctor --data /var/lib/whalesong --port 8080 --json
  $ whalesong doctor --data /var/lib/whalesong --digest`,
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
    .action(async (options: DoctorOptions & { json?: true; digest?: true }) => {
      await readApart(() => (options.digest ? printDigest(options) : printChecks(options)));
    });
}

async function printChecks(options: DoctorOptions & { json?: true }): Promise<void> {
  const checks = await examine(options);
  const failed = checks.some(({ status }) => status === "fail");
  process.stdout.write(options.json ? `${JSON.stringify({ ok: !failed, checks })}\n` : toLines(checks));
  process.exitCode = failed ? 1 : 0;
}

async function printDigest({ data, json }: { data: string; json?: true }): Promise<void> {
  const path = resolve(data);
  const { digestStore } = await import("./state/digest.ts");
  const found = await digestStore(path);
  if (found === undefined) throw new FolderError(`data folder ${path}: there is no store yet`);
  const { epoch, offset, digest } = found;
  process.stdout.write(
    json ? `${JSON.stringify(found)}\n` : `epoch ${epoch}  head ${offset}  digest ${digest}\n`,
  );
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new InvalidArgumentError("A port is a number from 0 to 65535.");
}

/** Runs every check. @throws ReaderIdError: it cannot be done by this process */
export async function examine(options: DoctorOptions): Promise<Check[]> {
  const path = resolve(options.data);
  const checks: [string, () => Promise<Omit<Check, "name">>][] = [
    ["node", checkNode],
    ["packages", checkPackages],
    ["data folder", () => checkFolder(path)],
    ["folder mode", () => checkFolderMode(path)],
    ["free space", () => checkFreeSpace(path)],
    ["store", () => checkStore(path)],
    ["port", () => checkPort(options)],
    ["open files", checkOpenFiles],
  ];
  const found: Check[] = [];
  for (const [name, check] of checks) {
    try {
      found.push({ name, ...(await check()) });
    } catch (error) {
      if (error instanceof ReaderIdError) throw error;
      found.push({ name, status: "fail", found: (error as Error).message });
    }
  }
  return found;
}

/** A line for each check, and one more for what to mend. */
export function toLines(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  const lines = checks.map(({ name, status, found, mend }) => {
    const line = `${status.padEnd(4)}  ${name.padEnd(width)}  ${found}\n`;
    return mend === undefined ? line : `${line}${" ".repeat(width + 8)}-> ${mend}\n`;
  });
  return lines.join("");
}

async function checkNode(): Promise<Omit<Check, "name">> {
  const found = `Node.js ${process.versions.node}, ${process.platform} ${process.arch}`;
  const wanted = (await readManifest()).engines.node;
  return isAtLeast(process.versions.node, wanted.replace(/^>=/, ""))
    ? { status: "ok", found }
    : { status: "fail", found, mend: `install Node.js ${wanted}` };
}

async function checkPackages(): Promise<Omit<Check, "name">> {
  const { version, dependencies } = await readManifest();
  const faults: string[] = [];
  for (const [name, range] of Object.entries(dependencies)) {
    const installed = await installedVersion(name);
    if (installed === undefined) faults.push(`${name} is not installed`);
    else if (!satisfiesCaret(installed, range)) faults.push(`${name} ${installed} is not ${range}`);
  }
  const lmdb = await installedVersion("lmdb");
  return faults.length === 0
    ? { status: "ok", found: `whalesong ${version} with all its packages, lmdb ${lmdb}` }
    : { status: "fail", found: faults.join(", "), mend: "install again: npm install" };
}

async function checkFolder(path: string): Promise<Omit<Check, "name">> {
  const report = await inspectDataFolder(path);
  if (!report.exists) return await checkMissingFolder(path);
  if (!report.writable) {
    return {
      status: "fail",
      found: `${path} cannot be read and written by this user`,
      mend: `chown or chmod it, or choose another with --data`,
    };
  }
  return inUse(path, report) ?? { status: "ok", found: `${path}, ${formatBytes(report.bytes)}` };
}

function inUse(path: string, { lockedBy, bytes }: FolderReport): Omit<Check, "name"> | undefined {
  if (lockedBy === undefined) return undefined;
  const { pid, host } = lockedBy;
  const who = pid === undefined ? "a broker" : `the broker with process id ${pid}`;
  return {
    status: "warn",
    found: `${path}, ${formatBytes(bytes)}, in use by ${who}${host === undefined || host === hostname() ? "" : ` on ${host}`}`,
    mend: "one broker has a folder at a time: stop that one first, or choose another with --data",
  };
}

async function checkFolderMode(path: string): Promise<Omit<Check, "name">> {
  const { exists, openness } = await inspectDataFolder(path);
  if (!exists) return { status: "ok", found: "the broker will make the folder for its user alone" };
  if (openness === undefined) return { status: "ok", found: "only its user may enter the folder" };
  return { status: "warn", found: "other users may enter the folder", mend: `chmod 700 ${path}` };
}

async function checkMissingFolder(path: string): Promise<Omit<Check, "name">> {
  const parent = await nearestExisting(path);
  const isFolder = (await stat(parent)).isDirectory();
  const canMake =
    isFolder &&
    (await access(parent, constants.W_OK | constants.X_OK).then(
      () => true,
      () => false,
    ));
  if (canMake) return { status: "ok", found: `${path} is not there yet; the broker will make it` };
  return {
    status: "fail",
    found: `${path} is not there and cannot be made: ${parent} ${isFolder ? "is not writable" : "is not a folder"}`,
    mend: "make it, or choose another with --data",
  };
}

async function checkFreeSpace(path: string): Promise<Omit<Check, "name">> {
  const { bavail, bsize } = await statfs(await nearestExisting(path));
  const freeBytes = bavail * bsize;
  const found = `${formatBytes(freeBytes)} free`;
  if (freeBytes >= lowFreeBytes) return { status: "ok", found };
  return {
    status: freeBytes < leastFreeBytes ? "fail" : "warn",
    found,
    mend: "free some, or choose a larger disk with --data: a full one refuses writes",
  };
}

async function checkStore(path: string): Promise<Omit<Check, "name">> {
  // Loads LMDB's native part, which can fail by itself.
  const { inspectStore } = await import("./state/inspect.ts");
  try {
    const store = await inspectStore(path);
    if (store === undefined) {
      await refuseLostStore(path);
      return { status: "ok", found: "LMDB loads; there is no store yet" };
    }
    const found = `format ${store.format}, epoch ${store.epoch}, entries after ${store.floor} up to ${store.head}`;
    if (store.format === store.formatWanted) return { status: "ok", found };
    return {
      status: "fail",
      found: `${found}; this broker reads format ${store.formatWanted}`,
      mend: "use the broker that wrote it, or choose another folder with --data",
    };
  } catch (error) {
    if (error instanceof ReaderIdError) throw error;
    const mend =
      error instanceof FolderError ? undefined : "restore a backup, or choose another folder with --data";
    return { status: "fail", found: (error as Error).message, ...(mend === undefined ? {} : { mend }) };
  }
}

async function checkPort({ host, port }: DoctorOptions): Promise<Omit<Check, "name">> {
  const place = `${host}:${port}`;
  const error = await tryListen(host, port);
  switch (error?.code) {
    case undefined:
      return { status: "ok", found: `${place} is free` };
    case "EADDRINUSE":
      return (await isBroker(host, port))
        ? {
            status: "warn",
            found: `a broker already answers at ${place}`,
            mend: "another one needs another --port",
          }
        : { status: "fail", found: `${place} is taken by another program`, mend: "choose another --port" };
    case "EACCES":
      return {
        status: "fail",
        found: `this user may not listen at ${place}`,
        mend: "choose a --port from 1024 on",
      };
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return {
        status: "fail",
        found: `${host} is no address of this machine`,
        mend: "choose another --host",
      };
    default:
      return {
        status: "fail",
        found: `${place}: ${error?.message}`,
        mend: "choose another --host or --port",
      };
  }
}

function tryListen(host: string, port: number): Promise<NodeJS.ErrnoException | undefined> {
  return new Promise((settle) => {
    const server = createServer();
    server.once("error", settle);
    server.listen({ host, port, exclusive: true }, () => server.close(() => settle(undefined)));
  });
}

async function isBroker(host: string, port: number): Promise<boolean> {
  const name = host.includes(":") ? `[${host}]` : host;
  const patience = new AbortController();
  // A timer that keeps the process: a peer that hangs up at once leaves nothing else to wait for.
  const timer = setTimeout(() => patience.abort(), greetingMs);
  try {
    // Its metrics may be told at the operators' port alone; what it serves is told at each port for clients.
    for (const [path, sign] of [
      ["/metrics", "whalesong_"],
      ["/openapi.json", '"Whalesong"'],
    ] as const) {
      const answer = await fetch(`http://${name}:${port}${path}`, { signal: patience.signal });
      if ((await answer.text()).includes(sign)) return true;
    }
    return false;
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}

async function checkOpenFiles(): Promise<Omit<Check, "name">> {
  // Node.js has raised its soft limit as far as it may go, and so will the broker.
  const limits = await readFile("/proc/self/limits", "utf8").catch(() => undefined);
  const [, soft] = /^Max open files\s+(\d+|unlimited)/m.exec(limits ?? "") ?? [];
  if (soft === undefined) {
    return {
      status: "warn",
      found: "the limit cannot be read on this system",
      mend: "see that `ulimit -n` is high",
    };
  }
  const most = soft === "unlimited" ? Infinity : Number(soft);
  const found = `${soft}; each connection takes one`;
  if (most >= lowOpenFiles) return { status: "ok", found };
  return {
    status: most < leastOpenFiles ? "fail" : "warn",
    found,
    mend: "raise it: `ulimit -n 65536`, or LimitNOFILE= in a systemd unit",
  };
}

async function nearestExisting(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    const exists = await stat(at).then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code !== "ENOENT" && error.code !== "ENOTDIR",
    );
    if (exists || at === dirname(at)) return at;
  }
}

interface Manifest {
  version: string;
  engines: { node: string };
  dependencies: Record<string, string>;
}

const require = createRequire(import.meta.url);

async function readManifest(): Promise<Manifest> {
  return JSON.parse(await readFile(require.resolve("whalesong/package.json"), "utf8")) as Manifest;
}

/** Read from the package's own manifest, which its `exports` may hide from `require`. */
async function installedVersion(name: string): Promise<string | undefined> {
  for (const folder of require.resolve.paths(name) ?? []) {
    const text = await readFile(join(folder, name, "package.json"), "utf8").catch(() => undefined);
    if (text !== undefined) return (JSON.parse(text) as { version: string }).version;
  }
  return undefined;
}

/** Whether `version` is in `^range`, for majors from 1 on. */
function satisfiesCaret(version: string, range: string): boolean {
  const least = range.replace(/^\^/, "");
  return version.split(".")[0] === least.split(".")[0] && isAtLeast(version, least);
}

function isAtLeast(version: string, least: string): boolean {
  const [a, b] = [version, least].map((text) => text.split(".").map(Number));
  for (let part = 0; part < 3; part++) {
    const order = (a?.[part] ?? 0) - (b?.[part] ?? 0);
    if (order !== 0) return order > 0;
  }
  return true;
}

function formatBytes(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const unit = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${unit === 0 ? bytes : (bytes / 1024 ** unit).toFixed(1)} ${units[unit]}`;
}
