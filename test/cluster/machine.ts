/* Machine: one of a runbook's machines, as far as one computer can be three.
 *
 * Its files lie below a folder of its own, and it is known by ports of its own of localhost. So the files of broker/deploy and the commands
 * of the runbook are used as they are, but for paths, names and ports: `local`. There is no systemd for it to speak to: `systemctl` is answered here, by what the installed unit says. `sudo` just runs what it is given. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Test } from "tap";

import { findProgram } from "../../bench/targets/programs.ts";
import { freePorts, spawnBound } from "./nats-server.ts";
import { budget } from "../pace.ts";
import { nodeArgs } from "../program.ts";

const deployFolder = fileURLToPath(new URL("../../broker/deploy", import.meta.url));
const here = fileURLToPath(new URL("../..", import.meta.url));
/** Where the package's files to copy are, below a machine's root. */
export const packagedFolder = "opt/whalesong/node_modules/whalesong/broker/deploy";
/** How long one block of commands may take, in ms. */
const patienceMs = 90_000;
/** What is shown of logs when a test fails. */
const shownLog = 4_000;

/** The ports of the files to copy, and those of one machine in their stead. */
const filePorts = [4222, 6222, 8222, 5250, 5252] as const;
type Ports = Record<(typeof filePorts)[number], number>;

interface Service {
  process: ChildProcess;
  ended: Promise<unknown>;
  stopSignal: NodeJS.Signals;
}

export class Machine {
  readonly number: number;
  readonly root: string;
  /** Of all machines, the first one's first. */
  readonly #ports: readonly Ports[];
  readonly #services = new Map<string, Service>();
  readonly #logs = new Map<string, string>();
  #control: Server | undefined;

  /** Three machines with the files to copy in place, and nothing installed. They are gone when the test ends. */
  static async three(t: Test): Promise<Machine[]> {
    const free = await freePorts(3 * filePorts.length);
    const ports = [0, 1, 2].map(
      (i) => Object.fromEntries(filePorts.map((port, j) => [port, free[filePorts.length * i + j]!])) as Ports,
    );
    const folder = await mkdtemp(join(tmpdir(), "whalesong-machines-"));
    const machines = [1, 2, 3].map((number) => new Machine(number, ports, join(folder, `machine${number}`)));
    t.teardown(async () => {
      await Promise.all(machines.map((machine) => machine.#end()));
      if (!t.passing()) for (const machine of machines) t.comment(machine.#report());
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    });
    for (const machine of machines) await machine.#prepare();
    return machines;
  }

  private constructor(number: number, ports: readonly Ports[], root: string) {
    this.number = number;
    this.root = root;
    this.#ports = ports;
  }

  /** Where its NATS server is, or another of its ports. */
  at(port: keyof Ports): string {
    return `localhost:${this.#ports[this.number - 1]![port]}`;
  }

  /** A path of the runbook, here. */
  path(path: string): string {
    return join(this.root, path);
  }

  /** A text of the runbook or of the files to copy, for this machine. */
  local(text: string): string {
    const own = this.#ports[this.number - 1]!;
    return text
      .replaceAll(
        /(?<![\w.])\/(?=(?:etc|var\/lib|var\/backups|opt\/whalesong|usr\/local\/bin)\b)/g,
        `${this.root}/`,
      )
      .replaceAll(/\b(?:nats|whalesong)-(\d|\$n):(\d{4})\b/g, (_match, n: string, port: string) => {
        const number = n === "$n" ? this.number : Number(n);
        return `localhost:${this.#ports[number - 1]![Number(port) as keyof Ports]}`;
      })
      .replaceAll(/\b(?:0\.0\.0\.0|127\.0\.0\.1):(\d{4})\b/g, (_match, port: string) => {
        return `127.0.0.1:${own[Number(port) as keyof Ports]}`;
      })
      .replaceAll("WHALESONG_HOST=0.0.0.0", "WHALESONG_HOST=localhost")
      .replaceAll(/(?<=^WHALESONG_\w*PORT=)\d{4}$/gm, (port) => String(own[Number(port) as keyof Ports]))
      .replaceAll(/(?<=certificates\.sh .*)\bnats-\d/g, "$&,localhost")
      .replaceAll(/ -o \w+ -g \w+/g, "")
      .replaceAll(/^sudo chown .*$/gm, ":");
  }

  /** Runs a block of the runbook's commands; what it printed. @throws when one fails, with all that was said */
  async run(block: string, env: Record<string, string> = {}): Promise<string> {
    const { port } = this.#control!.address() as AddressInfo;
    const { PATH = "", HOME = "" } = process.env;
    const own = [this.path("bin"), this.path("usr/local/bin")].join(":");
    const shell = spawn("sh", ["-euc", this.local(block)], {
      cwd: this.path(packagedFolder),
      env: {
        PATH: `${own}:${PATH}:/usr/local/sbin:/usr/sbin:/sbin`,
        HOME,
        MACHINE: `http://127.0.0.1:${port}/`,
        n: String(this.number),
        ...env,
      },
      detached: true,
    });
    let said = "";
    let printed = "";
    shell.stdout.setEncoding("utf8").on("data", (text: string) => ((printed += text), (said += text)));
    shell.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    let isLate = false;
    const late = setTimeout(() => {
      isLate = true;
      process.kill(-shell.pid!, "SIGKILL"); // the shell and all that it started
    }, budget(patienceMs));
    const [status] = (await once(shell, "close")) as [number | null];
    clearTimeout(late);
    if (status === 0) return printed;
    const how = isLate ? `not done after ${patienceMs} ms` : `status ${status}`;
    throw new Error(`machine ${this.number}: ${how}:\n${block}\n--- said:\n${said.slice(-shownLog)}`);
  }

  /** What a service has said. */
  log(service: string): string {
    return this.#logs.get(service) ?? "";
  }

  /** SIGKILL, as when the machine is switched off. */
  async kill(name: string): Promise<void> {
    const service = this.#services.get(name);
    service?.process.kill("SIGKILL");
    await service?.ended;
  }

  async #prepare(): Promise<void> {
    for (const folder of [
      "bin",
      "usr/local/bin",
      "var/lib",
      "var/backups",
      "opt/whalesong/node_modules/.bin",
    ])
      await mkdir(this.path(folder), { recursive: true });
    await mkdir(this.path(packagedFolder), { recursive: true });
    for (const file of await readdir(deployFolder)) {
      const text = await readFile(join(deployFolder, file), "utf8");
      await writeFile(join(this.path(packagedFolder), file), file.endsWith(".sh") ? text : this.local(text));
    }
    await this.#script("bin/sudo", `exec "$@"`);
    await this.#script("bin/systemctl", `exec curl -sS --fail-with-body --data "$*" "$MACHINE"`);
    const node = JSON.stringify(process.execPath);
    const broker = nodeArgs("broker/main")
      .map((arg) => JSON.stringify(arg))
      .join(" ");
    await this.#script(
      "opt/whalesong/node_modules/.bin/whalesong",
      `cd ${JSON.stringify(here)}; exec ${node} ${broker} "$@"`,
    );
    this.#control = createServer((request, response) => {
      let body = "";
      request.setEncoding("utf8").on("data", (text: string) => (body += text));
      request.on("end", () => {
        this.#systemctl(body.split(" ")).then(
          () => response.end(),
          (error: unknown) => response.writeHead(500).end(`systemctl ${body}: ${String(error)}\n`),
        );
      });
    }).listen(0, "127.0.0.1");
    await once(this.#control, "listening");
  }

  async #script(path: string, body: string): Promise<void> {
    await writeFile(this.path(path), `#!/bin/sh\n${body}\n`);
    await chmod(this.path(path), 0o755);
  }

  async #systemctl([verb, ...args]: string[]): Promise<void> {
    const name = args.findLast((arg) => !arg.startsWith("-")) ?? "";
    switch (verb) {
      case "daemon-reload":
        return;
      case "enable": // always with --now
      case "start":
        return await this.#start(name);
      case "stop":
        return await this.#stop(name);
      case "restart":
        await this.#stop(name);
        return await this.#start(name);
      default:
        throw new Error(`${verb} is not known here`);
    }
  }

  async #start(name: string): Promise<void> {
    if (this.#services.has(name)) return;
    const unit = readUnit(await readFile(this.path(`etc/systemd/system/${name}.service`), "utf8"));
    const env = readEnvironment(await readFile(unit["EnvironmentFile"]!, "utf8"));
    for (const folder of [unit["StateDirectory"]!])
      await mkdir(this.path(`var/lib/${folder}`), { recursive: true });
    const [program, ...args] = unit["ExecStart"]!.split(" ");
    const file = program!.startsWith(this.root) ? program! : findProgram(program!.split("/").at(-1)!)!;
    const { PATH = "", HOME = "" } = process.env;
    const child = spawnBound(file, args, { PATH, HOME, ...env });
    const keep = (text: string): void =>
      void this.#logs.set(name, `${this.log(name)}${text}`.slice(-1_000_000));
    child.stdout!.setEncoding("utf8").on("data", keep);
    child.stderr!.setEncoding("utf8").on("data", keep);
    const [, signal = "TERM"] = /kill -s (\w+) \$MAINPID/.exec(unit["ExecStop"] ?? "") ?? [];
    const ended = once(child, "exit").then(() => this.#services.delete(name));
    this.#services.set(name, { process: child, ended, stopSignal: `SIG${signal}` as NodeJS.Signals });
  }

  async #stop(name: string): Promise<void> {
    const service = this.#services.get(name);
    service?.process.kill(service.stopSignal);
    await service?.ended;
  }

  async #end(): Promise<void> {
    for (const name of ["whalesong", "nats-server"]) await this.kill(name);
    this.#control?.close();
    this.#control?.closeAllConnections();
  }

  #report(): string {
    const logs = [...this.#logs].map(([name, text]) => `${name}:\n${text.slice(-shownLog)}`);
    return `machine ${this.number}\n${logs.join("\n")}`;
  }
}

/** The settings of a systemd unit; of those that stand several times the last. */
export function readUnit(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/^([A-Z]\w+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]),
  );
}

/** The variables of an environment file. */
export function readEnvironment(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/^([A-Z][A-Z0-9_]*)=(.*)$/gm)].map(([, name, value]) => [name!, value!]),
  );
}
