/* Metrics: what a Whalesong broker says of itself at `/metrics`, as a target's health. */

import type { Health } from "./target.ts";

const timeoutMs = 5_000;
/** The broker's monitor of its event loop looks every so often, and its figures hold that time. */
const monitorPeriodSeconds = 0.01;

/** One of its counters now; undefined where it cannot be read. */
export async function readCounter(
  url: string,
  token: string | undefined,
  name: string,
): Promise<number | undefined> {
  const text = await readMetrics(url, token);
  return text === undefined ? undefined : valueOf(text, name);
}

/** Undefined where it cannot be read. The loop delays are since the metrics were read last, by anyone. */
export async function readHealth(url: string, token: string | undefined): Promise<Health | undefined> {
  const text = await readMetrics(url, token);
  return text === undefined ? undefined : parseHealth(text);
}

export function parseHealth(text: string): Health {
  const value = (name: string): number | undefined => valueOf(text, name);
  const delay = (name: string): number | undefined => {
    const seconds = value(`nodejs_eventloop_lag_${name}_seconds`);
    return seconds === undefined ? undefined : Math.max(0, seconds - monitorPeriodSeconds) * 1_000;
  };
  const health: Health = {};
  const [userSeconds, systemSeconds] = [
    value("process_cpu_user_seconds_total"),
    value("process_cpu_system_seconds_total"),
  ];
  const rssBytes = value("process_resident_memory_bytes");
  const [p50, p99, max] = [delay("p50"), delay("p99"), delay("max")];
  if (userSeconds !== undefined) health.userSeconds = userSeconds;
  if (systemSeconds !== undefined) health.systemSeconds = systemSeconds;
  if (rssBytes !== undefined) health.rssBytes = rssBytes;
  if (p50 !== undefined && p99 !== undefined && max !== undefined) health.loopDelay = { p50, p99, max };
  return health;
}

async function readMetrics(url: string, token: string | undefined): Promise<string | undefined> {
  const address = new URL("/metrics", url.replace(/^ws/, "http"));
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
  try {
    const response = await fetch(address, { headers, signal: AbortSignal.timeout(timeoutMs) });
    return response.ok ? await response.text() : undefined;
  } catch {
    return undefined;
  }
}

function valueOf(text: string, name: string): number | undefined {
  const found = new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1];
  return found === undefined || !Number.isFinite(Number(found)) ? undefined : Number(found);
}
