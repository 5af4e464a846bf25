/* Resume: a crowd of readers that connect, catch up and are live. */

import { type Progress, serveAsks } from "../asks.ts";
import { type Spent, startMeasuring } from "../measure.ts";
import { Readers } from "./readers.ts";

export interface Resumed {
  spent: Spent;
  posts: number;
  /** Readers that got another number of posts than `expected`. */
  faulty: number;
}

const crowds: Readers[] = [];

const handlers = {
  /** Connects the readers r`first`, …, and waits until all are live. */
  async open(
    crowd: {
      url: string;
      first: number;
      count: number;
      device: string;
      from: "resume" | "live";
      expected: number;
    },
    progress: Progress,
  ): Promise<Resumed> {
    const spent = startMeasuring();
    const readers = await Readers.open({ ...crowd, prefix: "r", onLive: progress });
    crowds.push(readers);
    return { spent: spent(), posts: readers.posts, faulty: readers.unlike(crowd.expected) };
  },

  close(): void {
    for (const readers of crowds.splice(0)) readers.close();
  },
};
export type ResumeHandlers = typeof handlers;

serveAsks(handlers);
