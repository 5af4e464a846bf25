/* Connection: one connection to NATS, kept for as long as the broker lives. */

import { type ConnectionOptions, Events, type NatsConnection, connect, credsAuthenticator } from "nats";

import type { Logger } from "../logger.ts";
import type { BrokerOptions } from "../options.ts";
import { OptionsError } from "../options.ts";
import { readText } from "../text-file.ts";

/** How long one attempt to connect may take, and how long to wait before the next, in ms. */
const attemptMs = 3_000;
const waitMs = 500;
/** A connection that answers no ping for twice this long is given up, in ms. */
const pingMs = 4_000;

export type NatsOptions = Pick<
  BrokerOptions,
  "nats" | "natsCreds" | "natsToken" | "natsTlsCa" | "natsTlsCert" | "natsTlsKey" | "node"
>;

/**
 * Connects, however long it takes until NATS is there. From then on the connection heals itself: it is the same object until
 * it is closed. Rejects with the signal's reason when that is aborted. @throws OptionsError for files that cannot be read
 */
export async function connectNats(
  options: NatsOptions,
  logger: Logger,
  signal?: AbortSignal,
): Promise<NatsConnection> {
  const given = await connectionOptions(options);
  for (let attempt = 1; ; attempt++) {
    try {
      const connection = await connect(given);
      if (attempt > 1) logger.info({ nats: options.nats }, "NATS is there");
      void logChanges(connection, logger);
      return connection;
    } catch (error) {
      if (attempt === 1) logger.warn({ err: error, nats: options.nats }, "NATS cannot be reached yet");
    }
    await pause(waitMs, signal);
  }
}

/** Connects, or not: for a command that somebody waits for. @throws NatsError, OptionsError */
export async function connectNatsOnce(options: NatsOptions): Promise<NatsConnection> {
  return await connect(await connectionOptions(options));
}

async function connectionOptions(options: NatsOptions): Promise<ConnectionOptions> {
  const given: ConnectionOptions = {
    servers: options.nats ?? [],
    name: `whalesong ${options.node}`,
    timeout: attemptMs,
    maxReconnectAttempts: -1,
    reconnectTimeWait: waitMs,
    pingInterval: pingMs,
    maxPingOut: 2,
    // Rights may be mended while this waits: it does not give up over them.
    ignoreAuthErrorAbort: true,
  };
  if (options.natsToken !== undefined) given.token = options.natsToken;
  if (options.natsCreds !== undefined)
    given.authenticator = credsAuthenticator(
      new TextEncoder().encode(await readNamed("natsCreds", options.natsCreds)),
    );
  const { natsTlsCa: ca, natsTlsCert: cert, natsTlsKey: key } = options;
  if (ca !== undefined || cert !== undefined || key !== undefined) {
    given.tls = {
      ...(ca === undefined ? {} : { ca: await readNamed("natsTlsCa", ca) }),
      ...(cert === undefined ? {} : { cert: await readNamed("natsTlsCert", cert) }),
      ...(key === undefined ? {} : { key: await readNamed("natsTlsKey", key) }),
    };
  }
  return given;
}

async function readNamed(option: string, file: string): Promise<string> {
  try {
    return await readText(file);
  } catch (cause) {
    throw new OptionsError(`${option}: ${(cause as Error).message}`, { cause });
  }
}

async function logChanges(connection: NatsConnection, logger: Logger): Promise<void> {
  for await (const { type, data } of connection.status()) {
    if (type === Events.Disconnect) logger.warn({ server: data }, "NATS is away");
    else if (type === Events.Reconnect) logger.info({ server: data }, "NATS is back");
    else if (type === Events.Error) logger.warn({ nats: data }, "NATS refused something");
  }
}

/** Waits for `ms`. @throws the signal's reason when that comes first */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error);
      return;
    }
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal!.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
