/* Seat: one worker as the process that applies sees it, from its start to its end.
 *
 * Does what the worker asks: appends its commands in the order they come, keeps its cursors, answers its questions. What
 * its commands came to goes back with the offset up to which all is durable. When the worker dies, what it had sent is
 * applied all the same, and nobody is answered. */

import { type ChildProcess, fork } from "node:child_process";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";

import { type ErrorBody, WhalesongError } from "../../protocol/index.ts";
import type { Core } from "../core.ts";
import type { Log } from "../log/log.ts";
import type { Figures } from "../metrics.ts";
import { type Cursors, commandsIn } from "../sessions/index.ts";
import type { Command, CursorKey, Offset, Outcome } from "../state/index.ts";
import { Channel } from "./channel.ts";
import {
  type FromWorker,
  type Questions,
  type Settled,
  type Ticket,
  type ToWorker,
  channelFd,
} from "./messages.ts";

/** Offsets that a worker may be behind what is durable before no more is committed for now. */
const maxLag = 16_384;
/** A worker that leaves this many greetings unanswered is ended: it would hold up all others. There is one a second or so. */
const maxUnanswered = 20;
/** The same before it has opened the store. It holds up nobody then, and a busy machine starts processes slowly. */
const maxUnansweredStarting = 120;

export interface SeatOptions {
  number: number;
  core: Core;
  /** The whole broker's metrics. */
  metricsText: () => Promise<string>;
  onServing: () => void;
  /** A user has read more than they may, and is to wait. */
  onOverRead: (user: string, waitMs: number) => void;
  /** It ended, by itself or not. `reason` says why where that is known. */
  onEnd: (reason: string) => void;
}

export class Seat {
  readonly number: number;
  readonly #options: SeatOptions;
  readonly #child: ChildProcess;
  readonly #channel: Channel<FromWorker, ToWorker>;
  readonly #figures = new Map<Ticket, (figures: Figures | undefined) => void>();
  #state: "starting" | "serving" | "draining" | "ended" = "starting";
  #settled: Settled[] = [];
  #isTelling = false;
  #isOpened = false;
  #heard: Offset = 0;
  #isBehind = false;
  #connections = 0;
  #unanswered = 0;
  /** On their way: each is an open file of this process until the worker has taken it. */
  readonly #leaving = new Set<Socket>();
  #failure: string | undefined;
  #ticket: Ticket = 0;
  readonly #ended: Promise<void>;

  /** @throws when no process can be started: open files, or processes, have run out */
  constructor(options: SeatOptions) {
    this.#options = options;
    this.number = options.number;
    const isSource = import.meta.url.endsWith(".ts");
    const file = fileURLToPath(new URL(isSource ? "main.ts" : "main.js", import.meta.url));
    const stdio = ["ignore", "inherit", "inherit", "ipc", "pipe"] as const;
    this.#child = fork(file, [], { stdio: [...stdio], execArgv: execArgv() });
    // What goes wrong is told by an event, also when there is no process; a second one, that nobody hears, would end this one.
    this.#child.on("error", () => {});
    const pipe = (this.#child.stdio as ChildProcess["stdio"] | undefined)?.[channelFd];
    if (pipe === undefined || pipe === null || this.#child.pid === undefined)
      throw new Error("no process could be started: open files or processes have run out");
    this.#channel = new Channel(pipe as Duplex, {
      onMessage: (message) => this.#receive(message),
      onClosed: () => {},
      onUnsendable: (message, error) => {
        if (message[0] === "answer") this.#refuse(message[1], error);
        else this.#fail(error);
      },
      onFault: (message, error) => {
        if (message[0] === "append" || message[0] === "ask") this.#refuse(message[1], error);
        else options.core.logger.error({ err: error }, "fault");
      },
      onUnreadable: (error) => this.#fail(error),
    });
    this.#ended = new Promise((resolve) => {
      const onEnd = (reason: string): void => {
        if (this.#state === "ended") return;
        this.#state = "ended";
        for (const tell of this.#figures.values()) tell(undefined);
        for (const socket of this.#leaving) socket.destroy();
        resolve();
        options.onEnd(this.#failure ?? reason);
      };
      this.#child.once("exit", (code, signal) => onEnd(signal ?? `exit code ${code}`));
      this.#child.on("error", (error) => {
        this.#failure ??= error.message;
        this.kill();
      });
    });
    this.#channel.send(["start", this.number, options.core.options]);
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get isServing(): boolean {
    return this.#state === "serving";
  }

  /** It takes part: what it has not heard must stay. */
  get isOpened(): boolean {
    return this.#isOpened && this.#state !== "ended";
  }

  /** It has told all up to here to its streams. */
  get heard(): Offset {
    return this.#heard;
  }

  get isBehind(): boolean {
    return this.isOpened && (this.#isBehind || this.#options.core.log.durable - this.#heard > maxLag);
  }

  /** Connections handed to it that have not ended. */
  get connections(): number {
    return this.#connections;
  }

  /** Connections on their way to it. */
  get leaving(): number {
    return this.#leaving.size;
  }

  /** Settles when the process has ended. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** Hands a connection over. */
  accept(socket: Socket): void {
    this.#connections++;
    this.#leaving.add(socket);
    this.#child.send("connection", socket, (error) => {
      this.#leaving.delete(socket);
      if (error !== null) socket.destroy();
    });
  }

  /** Something became durable: it is told at the end of this turn of the event loop, with what its commands came to. */
  tell(): void {
    if (this.#isTelling || !this.isOpened) return;
    this.#isTelling = true;
    setImmediate(() => {
      this.#isTelling = false;
      const settled = this.#settled;
      this.#settled = [];
      this.#channel.send(["durable", this.#options.core.log.durable, settled]);
      this.#channel.flush();
    });
  }

  /** A user is to read nothing for so long. */
  hold(user: string, waitMs: number): void {
    if (this.isOpened) this.#channel.send(["hold", user, waitMs]);
  }

  /** Its metrics; undefined when it ends before it tells. */
  figures(): Promise<Figures | undefined> {
    const ticket = ++this.#ticket;
    this.#channel.send(["tell figures", ticket]);
    return new Promise((resolve) => this.#figures.set(ticket, resolve));
  }

  /** Called every second or so. */
  check(): void {
    if (this.#state === "ended") return;
    const most = this.#isOpened ? maxUnanswered : maxUnansweredStarting;
    if (this.#unanswered++ < most) this.#channel.send(["say hello"]);
    else {
      this.#failure = `no answer to ${most} greetings`;
      this.kill();
    }
  }

  /** Lets its sessions go over `ms`; it ends by itself then. */
  drain(ms: number): void {
    if (this.#state === "ended") return;
    if (this.#state !== "serving") this.kill();
    else this.#channel.send(["drain", ms]);
    this.#state = "draining";
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** Ends a worker that can no longer be spoken to. */
  #fail(error: unknown): void {
    this.#failure = `what it says, or is told, cannot be read: ${(error as Error).message}`;
    this.kill();
  }

  #receive(message: FromWorker): void {
    const { core, onServing } = this.#options;
    this.#unanswered = 0;
    switch (message[0]) {
      case "append":
        this.#append(message[1], message[2], message[3]);
        break;
      case "spent":
        this.#spend(message[1], message[2]);
        break;
      case "acknowledge":
        core.cursors.acknowledge(message[1], message[2], message[3]);
        break;
      case "begin":
        core.cursors.begin(message[1], message[2]);
        break;
      case "seek":
        core.cursors.seek(message[1], message[2]);
        break;
      case "ask":
        void this.#answer(message[1], message[2], message[3]);
        break;
      case "standing":
        this.#heard = message[1];
        this.#isBehind = message[2];
        this.#connections -= message[3];
        break;
      case "figures":
        this.#figures.get(message[1])?.(message[2]);
        this.#figures.delete(message[1]);
        break;
      case "opened":
        this.#heard = message[1];
        core.log.whenDurable(message[1], () => {
          this.#isOpened = true;
          this.tell();
        });
        break;
      case "serving":
        if (this.#state !== "starting") break;
        this.#state = "serving";
        onServing();
        break;
      case "failed":
        this.#failure = message[1];
        this.kill();
    }
  }

  #spend(user: string, lookups: number): void {
    const waitMs = this.#options.core.rates.spend(user, lookups);
    if (waitMs > 0) this.#options.onOverRead(user, waitMs);
  }

  #append(ticket: Ticket, command: Command, bytes: number | null): void {
    const { log, rates, state } = this.#options.core;
    try {
      if (bytes !== null) rates.take(userOf(command), bytes, commandsIn(command, state.users));
    } catch (error) {
      this.#refuse(ticket, error);
      return;
    }
    log.append(command).then(
      ({ offset, answer, error }: Outcome) => {
        this.#settled.push(
          error === undefined ? [ticket, offset, answer] : [ticket, offset, answer, error.toBody()],
        );
      },
      (error: unknown) => this.#refuse(ticket, error),
    );
  }

  async #answer(
    ticket: Ticket,
    question: keyof Questions,
    asked: Questions[keyof Questions]["asked"],
  ): Promise<void> {
    try {
      this.#channel.send(["answer", ticket, await this.#find(question, asked)]);
    } catch (error) {
      this.#refuse(ticket, error);
    }
  }

  async #find(
    question: keyof Questions,
    asked: Questions[keyof Questions]["asked"],
  ): Promise<Questions[keyof Questions]["answered"]> {
    const { core, metricsText } = this.#options;
    const { cursors, log }: { cursors: Cursors; log: Log } = core;
    switch (question) {
      case "cursor":
        return (await cursors.get(asked as CursorKey)) ?? null;
      case "reach":
        await log.reach(asked as Offset);
        return log.durable;
      case "flush":
        await cursors.flush((asked as CursorKey | null) ?? undefined);
        return null;
      case "take":
        core.rates.take(asked as string);
        return null;
      case "readiness":
        return core.readiness ?? null;
      case "metrics":
        return await metricsText();
    }
  }

  #refuse(ticket: Ticket, error: unknown): void {
    this.#channel.send(["refused", ticket, this.#bodyOf(error)]);
  }

  #bodyOf(error: unknown): ErrorBody {
    if (error instanceof WhalesongError) return error.toBody();
    this.#options.core.logger.error({ err: error }, "fault");
    return new WhalesongError("internal", "a fault of the broker; it is logged there").toBody();
  }
}

/** The user whose rate a command counts against. */
function userOf(command: Command): string {
  if (command.op === "trim") throw new Error("clients do not trim");
  return command.user;
}

/** Node.js' own flags that this process was started with, but for a debugger's port, which is taken, and a program given as text. */
function execArgv(): string[] {
  const flags: string[] = [];
  for (let i = 0; i < process.execArgv.length; i++) {
    const flag = process.execArgv[i]!;
    if (/^(-e|-p|-pe|--eval|--print)$/.test(flag)) i++;
    else if (!/^--(inspect|input-type|eval=|print=)/.test(flag)) flags.push(flag);
  }
  return flags;
}
