/* Publish: a load that publishes, follows and sets cursors for many users through the SDK, many requests in flight. */

import { type Client, connect } from "../../clients/node/index.ts";
import { sample, seededRandom } from "../../clients/cli/replay/random.ts";
import { type Progress, serveAsks } from "../asks.ts";
import { type Spent, startMeasuring } from "../measure.ts";
import { makeTexts } from "./texts.ts";

const clients: Client[] = [];

const handlers = {
  async connect({ url, connections }: { url: string; connections: number }): Promise<void> {
    for (let i = 0; i < connections; i++)
      clients.push(await connect(url, { user: "bench", requestTimeoutMs: 120_000 }));
  },

  /** Authors a0, a1, … publish in turn. */
  publish(
    { posts, authors, inFlight }: { posts: number; authors: number; inFlight: number },
    progress: Progress,
  ): Promise<Spent> {
    const texts = makeTexts({ authors, seed: 1 });
    return inParallel({ tasks: posts, inFlight, progress }, (i, client) =>
      client.post(texts[i % texts.length]!, { as: `a${i % authors}` }),
    );
  },

  /** Readers r0, r1, … follow `follows` of the authors a0, a1, … each, chosen at random from a fixed seed. */
  follow(
    { readers, follows, authors }: { readers: number; follows: number; authors: number },
    progress: Progress,
  ): Promise<Spent> {
    const random = seededRandom(2);
    let followed: number[] = [];
    return inParallel({ tasks: readers * follows, inFlight: 1_024, progress }, (i, client) => {
      if (i % follows === 0) followed = sample(follows, authors, random);
      return client.follow(`a${followed[i % follows]}`, { as: `r${Math.floor(i / follows)}` });
    });
  },

  /** The durable cursor of each reader's home is where the log ends now, as a first `resume` makes it. */
  setCursors({ readers, device }: { readers: number; device: string }, progress: Progress): Promise<Spent> {
    return inParallel({ tasks: readers, inFlight: 1_024, progress }, (i, client) =>
      client.cursor("home", { as: `r${i}`, device, set: "live" }),
    );
  },

  async close(): Promise<void> {
    await Promise.all(clients.splice(0).map((client) => client.close()));
  },
};
export type PublishHandlers = typeof handlers;

serveAsks(handlers);

/** Runs all tasks in order, `inFlight` unanswered on each connection. The first that fails fails all. */
async function inParallel(
  { tasks, inFlight, progress }: { tasks: number; inFlight: number; progress: Progress },
  task: (i: number, client: Client) => Promise<unknown>,
): Promise<Spent> {
  let next = 0;
  let done = 0;
  const lane = async (client: Client): Promise<void> => {
    while (next < tasks) {
      await task(next++, client);
      progress(++done);
    }
  };
  const spent = startMeasuring();
  const lanes = clients.flatMap((client) => Array.from({ length: inFlight }, () => client));
  await Promise.all(lanes.map(lane));
  return spent();
}
