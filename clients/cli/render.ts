/* Render: an event as a line for people.
 *
 *     12:04:31  bob          hello @alice                    @ to you
 *
 * What others wrote is untrusted: control characters could drive the reader's terminal, so none gets through. */

import { fold } from "../../protocol/names.ts";
import type { Post, StreamItem } from "../../protocol/schemas.ts";

export interface RenderOptions {
  /** Who reads: their mentions are marked. */
  reader: string;
  colors: boolean;
  /** The time now, in milliseconds since the Unix epoch: lines of another day carry their date. */
  nowMs: number;
}

const styles = { dim: "2", bold: "1", author: "36", repost: "32", reply: "34", mention: "33", delete: "31" };
const authorWidth = 12;

/** One line without its end. */
export function renderItem(item: StreamItem, options: RenderOptions): string {
  const paint = painter(options.colors);
  switch (item.event) {
    case "post":
      return postLine(item.post, { time: clock(item.post.at, options.nowMs), options });
    case "repost": {
      const head = `${paint("dim", clock(item.at, options.nowMs))}  ${paint("author", padded(item.by))}`;
      const mark = paint("repost", `↻ ${plain(item.post.author)}:`);
      return `${head} ${mark} ${plain(item.post.text)}  ${paint("dim", item.post.id)}`;
    }
    case "delete":
      return `${paint("delete", "✗ deleted")}  ${paint("dim", item.id)}`;
  }
}

function postLine(post: Post, { time, options }: { time: string; options: RenderOptions }): string {
  const paint = painter(options.colors);
  const marks: string[] = [];
  const reader = fold(options.reader);
  if (post.replyTo !== undefined) marks.push(paint("reply", `↩ ${post.replyTo}`));
  if (fold(post.author) !== reader && post.mentions.some((user) => fold(user) === reader)) {
    marks.push(paint("mention", "@ mentions you"));
  }
  marks.push(paint("dim", post.id));
  return `${paint("dim", time)}  ${paint("author", padded(post.author))} ${plain(post.text)}  ${marks.join("  ")}`;
}

function padded(handle: string): string {
  return plain(handle).padEnd(authorWidth);
}

/** `text` on one line: a line break shows as ⏎, any other control or direction-changing character as a space. */
export function plain(text: string): string {
  return text.replaceAll(/\r\n|\n|\r/g, " ⏎ ").replaceAll(/[\p{Cc}\p{Bidi_Control}\u{2028}\u{2029}]/gu, " ");
}

function painter(colors: boolean): (style: keyof typeof styles, text: string) => string {
  return (style, text) => (colors ? `\u{1b}[${styles[style]}m${text}\u{1b}[0m` : text);
}

function clock(atMs: number, nowMs: number): string {
  const at = new Date(atMs);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  if (at.toDateString() === new Date(nowMs).toDateString()) return time;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

/** Whether `stream` is a terminal that wants colours: https://no-color.org. */
export function wantsColors(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv): boolean {
  return stream.isTTY && (env["NO_COLOR"] ?? "") === "" && env["TERM"] !== "dumb";
}
