/* Connection: the options all client commands share, and the session they open.
 *
 * A command for people answers at once when no broker is there, so the address is tried once before the SDK, which
 * would keep trying: all of them at once where there are several, of which one must answer. Once connected, the SDK's
 * own patience applies. */

import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";

import { type Command, Option } from "commander";

import type { Client } from "../core/index.ts";
import { splitUrls } from "../core/options.ts";
import { CommandError, UsageError } from "./command.ts";

const defaultUrl = "ws://127.0.0.1:5252";
/** Past this, a broker that accepts connections but does not answer counts as unreachable. */
const connectTimeoutMs = 10_000;

export interface ConnectionOptions {
  /** One URL, or several with commas between. */
  url: string;
  token?: string;
  user?: string;
  device?: string;
}

/** Adds `--url`, `--token` and `--user`. */
export function withConnection(command: Command): Command {
  return command
    .addOption(
      new Option("--url <urls>", "the broker; nodes of one cluster with commas between")
        .env("WHALESONG_URL")
        .default(defaultUrl),
    )
    .addOption(
      new Option("--token <jwt>", "who you are, where the broker asks for a token").env("WHALESONG_TOKEN"),
    )
    .addOption(
      new Option(
        "--user <handle>",
        "who you are, without a token; with one, whom to act as (scope backend)",
      ).env("WHALESONG_USER"),
    );
}

/** Adds `--device`: durable cursors are kept for each (user, device, stream). */
export function withDevice(command: Command): Command {
  return command.addOption(
    new Option("--device <name>", "whose durable cursor to resume from")
      .env("WHALESONG_DEVICE")
      .default("cli"),
  );
}

/** Opens a session. @throws UsageError when nobody is named, CommandError `unreachable`, or the broker's refusal. */
export async function openSession(options: ConnectionOptions, signal: AbortSignal): Promise<Client> {
  if (options.token === undefined && options.user === undefined) {
    throw new UsageError(
      "who are you? --user HANDLE (WHALESONG_USER), or --token JWT (WHALESONG_TOKEN) where the broker asks for one",
    );
  }
  await tryAddresses(parseUrls(options.url));
  return await openAnother(options, signal);
}

/** Opens a session to a broker known to be there. @throws CommandError `unreachable`, or the broker's refusal. */
export async function openAnother(options: ConnectionOptions, signal: AbortSignal): Promise<Client> {
  const sdk = await import("../node/index.ts");
  // The signal given to `connect` also ends the session later: so the time limit must not fire once it is open.
  const attempt = new AbortController();
  const stop = (): void => attempt.abort(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  const timer = setTimeout(() => attempt.abort(), connectTimeoutMs);
  try {
    return await sdk.connect(options.url, {
      ...identity(options),
      ...(options.device === undefined ? {} : { device: options.device }),
      // So that a node that hangs leaves time for the others.
      connectTimeoutMs: Math.round(connectTimeoutMs / parseUrls(options.url).length),
      signal: attempt.signal,
      client: "whalesong-cli",
    });
  } catch (error) {
    if (!attempt.signal.aborted || signal.aborted) throw error;
    throw new CommandError("unreachable", `${options.url} did not answer within ${connectTimeoutMs} ms`, {
      mend: "is it a Whalesong broker? `whalesong doctor` looks",
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
}

function identity({ token, user }: ConnectionOptions): { token: string; as?: string } | { user: string } {
  if (token === undefined) return { user: user ?? "" };
  return user === undefined ? { token } : { token, as: user };
}

function parseUrls(text: string): URL[] {
  const urls = splitUrls(text).map((part) => (URL.canParse(part) ? new URL(part) : undefined));
  if (urls.length === 0 || !urls.every(isBrokerUrl)) {
    throw new UsageError(`--url: an address like ${defaultUrl}; got ${JSON.stringify(text)}`);
  }
  return urls;
}

function isBrokerUrl(url: URL | undefined): url is URL {
  return url !== undefined && ["ws:", "wss:", "http:", "https:"].includes(url.protocol);
}

/** The HTTP side of each broker at the same addresses. */
export function httpAddresses(text: string, path: string): URL[] {
  return parseUrls(text).map(({ protocol, host }) => {
    const scheme = protocol === "wss:" || protocol === "https:" ? "https" : "http";
    return new URL(path, `${scheme}://${host}`);
  });
}

/** Waits until one of them takes a connection. @throws CommandError `unreachable` when none does */
async function tryAddresses(urls: readonly URL[]): Promise<void> {
  const attempts = urls.map(connectTo);
  try {
    await Promise.any(attempts.map(({ connected }) => connected));
  } catch (cause) {
    const failures = (cause as AggregateError).errors as Error[];
    const said = urls.map(({ href }, i) => `${href}: ${failures[i]?.message}`);
    throw new CommandError("unreachable", `no broker at ${said.join(", ")}`, {
      mend: "start one with `whalesong serve`, or name another with --url",
      cause,
    });
  } finally {
    for (const { socket } of attempts) socket.destroy();
  }
}

function connectTo(url: URL): { socket: Socket; connected: Promise<unknown> } {
  const secure = url.protocol === "wss:" || url.protocol === "https:";
  const socket = connectTcp({
    host: url.hostname.replaceAll(/^\[|\]$/g, ""),
    port: url.port === "" ? (secure ? 443 : 80) : Number(url.port),
    timeout: connectTimeoutMs,
  });
  socket.once("timeout", () => socket.destroy(new Error(`no answer within ${connectTimeoutMs} ms`)));
  return { socket, connected: once(socket, "connect") };
}
