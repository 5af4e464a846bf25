/* CoreLink: a worker's way to the process that applies. */

import type { Duplex } from "node:stream";

import { type ErrorBody, WhalesongError } from "../../protocol/index.ts";
import type { Cursors } from "../sessions/index.ts";
import type { Cursor, CursorKey, Offset } from "../state/index.ts";
import { Channel, type ChannelOptions } from "./channel.ts";
import type { FromWorker, Questions, Ticket, ToWorker } from "./messages.ts";

interface Asked {
  resolve: (answer: never) => void;
  reject: (error: unknown) => void;
}

/** Tickets of questions and of commands are told apart by their sign. */
export class CoreLink implements Cursors {
  readonly #channel: Channel<ToWorker, FromWorker>;
  readonly #asked = new Map<Ticket, Asked>();
  #ticket: Ticket = 0;

  constructor(stream: Duplex, options: ChannelOptions<ToWorker, FromWorker>) {
    this.#channel = new Channel(stream, options);
  }

  send(message: FromWorker): void {
    this.#channel.send(message);
  }

  ask<K extends keyof Questions>(
    question: K,
    asked: Questions[K]["asked"],
  ): Promise<Questions[K]["answered"]> {
    const ticket = --this.#ticket;
    this.send(["ask", ticket, question, asked]);
    return new Promise((resolve, reject) => this.#asked.set(ticket, { resolve, reject }));
  }

  answer(ticket: Ticket, answer: Questions[keyof Questions]["answered"]): void {
    this.#take(ticket).resolve(answer as never);
  }

  refuse(ticket: Ticket, error: ErrorBody): void {
    this.#take(ticket).reject(WhalesongError.fromBody(error));
  }

  /** A question could not be sent. */
  fail(ticket: Ticket, error: unknown): void {
    this.#take(ticket).reject(error);
  }

  async get(key: CursorKey): Promise<Cursor | undefined> {
    return (await this.ask("cursor", key)) ?? undefined;
  }

  acknowledge(key: CursorKey, offset: Offset, generation: number): void {
    this.send(["acknowledge", key, offset, generation]);
  }

  begin(key: CursorKey, offset: Offset): void {
    this.send(["begin", key, offset]);
  }

  seek(key: CursorKey, offset: Offset): void {
    this.send(["seek", key, offset]);
  }

  async flush(key?: CursorKey): Promise<void> {
    await this.ask("flush", key ?? null);
  }

  /** Sends what there is, and ends. */
  close(): Promise<void> {
    return this.#channel.close();
  }

  #take(ticket: Ticket): Asked {
    const asked = this.#asked.get(ticket);
    if (asked === undefined) throw new Error(`question ${ticket} is answered and was not asked`);
    this.#asked.delete(ticket);
    return asked;
  }
}
