/* Report: the figures of a replay, as a table for people and as one JSON object for machines. */

import type { Faults } from "./expectation.ts";
import type { PublishCounts } from "./publisher.ts";

export interface ReplayReport {
  file: string;
  seed: number;
  interactions: number;
  users: number;
  subscribers: number;
  follows: number;
  followSeconds: number;
  /** Follows of the subscribers that the broker does not list. */
  missingFollows: number;
  published: PublishCounts;
  /** From the first publish to its last answer. */
  publishSeconds: number;
  /** Posts and reposts that reached the subscribers. */
  deliveries: number;
  /** Those that should have. */
  expectedDeliveries: number;
  /** From the first publish to the last delivery. */
  deliverySeconds: number;
  reconnects: number;
  /** Bytes the broker's store grew by, where it tells. */
  followBytes?: number;
  publishBytes?: number;
  /** By stream. */
  faults: Record<string, Faults>;
  /** Streams that had not reached the head when nothing more arrived. */
  streamsBehind: number;
  /** Publishes applied in another order than sent. */
  misordered: number;
  /** Repeated reposts answered with another id than the first repost's. */
  wrongAnswers: number;
}

/** Whether every subscriber got exactly what it should have. */
export function isFlawless(report: ReplayReport): boolean {
  const { missingFollows, streamsBehind, misordered, wrongAnswers } = report;
  const faults = Object.values(report.faults).flatMap((stream) => Object.values(stream));
  return [missingFollows, streamsBehind, misordered, wrongAnswers, ...faults].every((found) => found === 0);
}

/** New entries: posts, replies and reposts. */
export function entriesOf({ posts, replies, reposts }: PublishCounts): number {
  return posts + replies + reposts;
}

/** The figures with the rates they come to. */
export function toJson(report: ReplayReport): object {
  const entries = entriesOf(report.published);
  return {
    ...report,
    entries,
    followsPerSecond: rate(report.follows, report.followSeconds),
    postsPerSecond: rate(entries, report.publishSeconds),
    deliveriesPerSecond: rate(report.deliveries, report.deliverySeconds),
    bytesPerFollow: per(report.followBytes, report.follows),
    bytesPerPost: per(report.publishBytes, entries),
    flawless: isFlawless(report),
  };
}

/** The table, with its last line end. */
export function toTable(report: ReplayReport): string {
  const { published } = report;
  const entries = entriesOf(published);
  const rows: [string, string][] = [
    ["interactions", count(report.interactions)],
    ["users", count(report.users)],
    ["follows", `${count(report.follows)} in ${seconds(report.followSeconds)}`],
    ["follows/s", count(rate(report.follows, report.followSeconds))],
    [
      "posts",
      `${count(entries)} in ${seconds(report.publishSeconds)}: ${count(published.posts)} posts, ` +
        `${count(published.replies)} replies, ${count(published.reposts)} reposts`,
    ],
    ["  first posts", `${count(published.firstPosts)} by targets that had none`],
    ["  repeated reposts", `${count(published.repeatedReposts)} answered with the first, nothing new`],
    ["posts/s", count(rate(entries, report.publishSeconds))],
    ["subscribers", `${count(report.subscribers)}, seed ${report.seed}`],
    ["deliveries", `${count(report.deliveries)} in ${seconds(report.deliverySeconds)}`],
    ["deliveries/s", count(rate(report.deliveries, report.deliverySeconds))],
    ["store per follow", bytes(per(report.followBytes, report.follows))],
    ["store per post", bytes(per(report.publishBytes, entries))],
    ["reconnects", count(report.reconnects)],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  const figures = rows.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join("");
  return `${figures}\n${checks(report)}`;
}

function checks(report: ReplayReport): string {
  const names = ["missing", "repeated", "outOfOrder", "unexpected"] as const;
  const heads = ["stream", "missing", "repeated", "out of order", "unexpected"];
  const lines = [
    heads,
    ...Object.entries(report.faults).map(([stream, f]) =>
      [stream].concat(names.map((name) => count(f[name]))),
    ),
  ];
  const widths = heads.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const table = lines.map((line) =>
    line
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join("  "),
  );
  const more = [
    [report.missingFollows, "follows of subscribers are missing"],
    [report.streamsBehind, "streams did not reach the head"],
    [report.misordered, "publishes were applied in another order than sent"],
    [report.wrongAnswers, "repeated reposts were not answered with the first"],
  ].filter(([n]) => n !== 0);
  const verdict = isFlawless(report)
    ? `ok: all ${count(report.expectedDeliveries)} deliveries came once, in order, and nothing else did`
    : `FAILED: ${count(report.expectedDeliveries)} deliveries were expected`;
  return [...table, ...more.map(([n, text]) => `${count(Number(n))} ${text}`), "", verdict, ""].join("\n");
}

function rate(amount: number, inSeconds: number): number {
  return inSeconds > 0 ? Math.round(amount / inSeconds) : 0;
}

function per(amount: number | undefined, of: number): number | undefined {
  return amount === undefined || of === 0 ? undefined : Math.round(amount / of);
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

function seconds(value: number): string {
  return `${value.toFixed(1)} s`;
}

function bytes(value: number | undefined): string {
  return value === undefined ? "not known" : `${count(value)} bytes`;
}
