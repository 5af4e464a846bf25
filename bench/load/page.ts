/* Page: reads pages of one reader's `home`, through the SDK and by plain HTTP in turns, one at a time.
 *
 * No page is read twice: at the head someone publishes in between, behind it each page is the one before the last. So none
 * is answered from what the broker has at hand from reading it before. */

import { Agent, get } from "node:http";

import { type Client, connect } from "../../clients/node/index.ts";
import { type Progress, serveAsks } from "../asks.ts";
import { Latency, type Quantiles } from "../latency.ts";
import { type Spent, startMeasuring } from "../measure.ts";
import { makeTexts } from "./texts.ts";

export interface PagesRead {
  spent: Spent;
  sdk: Quantiles;
  http: Quantiles;
}

interface PageOptions {
  url: string;
  reader: string;
  /** Who publishes between two pages at the head. */
  author: string;
  /** Pages by each of SDK and HTTP. */
  pages: number;
  items: number;
  /** How many entries the first page lies behind the newest. */
  back: number;
}

interface Page {
  items: unknown[];
  before?: string;
}
type ReadPage = (before: string | undefined) => Promise<Page>;

/** Items of a page while going back. */
const stepItems = 200;
/** Pages of each kind read before those that count. */
const warmUpPages = 20;

const handlers = {
  async read(options: PageOptions, progress: Progress): Promise<PagesRead> {
    const { url, reader, author, back } = options;
    const client = await connect(url, { user: reader });
    const publisher = await connect(url, { user: author });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const bySdk: ReadPage = (before) => client.read("home", pageQuery(options.items, before));
    const byHttp: ReadPage = async (before) => {
      const query = Object.entries(pageQuery(options.items, before)).map(
        ([name, value]) => `${name}=${value}`,
      );
      return JSON.parse(await fetchText(`${url}/v1/users/${reader}/home?${query.join("&")}`, agent)) as Page;
    };
    try {
      const [sdk, http] = [new Latency(), new Latency()];
      let before = back === 0 ? undefined : await goBack(client, back);
      for (let i = 0; i < warmUpPages; i++) checkPage(await (i % 2 === 0 ? bySdk : byHttp)(before), options);
      const texts = makeTexts({ authors: 1, seed: 1 });
      const spent = startMeasuring();
      for (let i = 0; i < 2 * options.pages; i++) {
        if (back === 0) await publisher.post(texts[i % texts.length]!);
        const [latency, read] = i % 2 === 0 ? [sdk, bySdk] : [http, byHttp];
        const page = checkPage(await latency.time(() => read(before)), options);
        if (back > 0) before = page.before;
        progress(i + 1);
      }
      return { spent: spent(), sdk: sdk.quantiles, http: http.quantiles };
    } finally {
      agent.destroy();
      await Promise.all([client.close(), publisher.close()]);
    }
  },
};
export type PageHandlers = typeof handlers;

serveAsks(handlers);

/** The cursor `back` entries before the newest. */
async function goBack(client: Client, back: number): Promise<string> {
  let before: string | undefined;
  for (let left = back; left > 0; left -= stepItems) {
    const page = await client.read("home", pageQuery(Math.min(left, stepItems), before));
    before = page.before;
    if (before === undefined) break;
  }
  if (before === undefined) throw new Error(`there are no ${back} entries in the reader's home`);
  return before;
}

function pageQuery(limit: number, before: string | undefined): { limit: number; before?: string } {
  return before === undefined ? { limit } : { limit, before };
}

function checkPage(page: Page, { items }: PageOptions): Page {
  if (page.items.length === items) return page;
  throw new Error(`a page of ${items} items was asked for; got ${page.items.length}`);
}

/** The body of a GET. @throws when the status is not 200 */
function fetchText(url: string, agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("error", reject).on("end", () => {
        if (response.statusCode === 200) resolve(text);
        else reject(new Error(`GET ${url}: ${response.statusCode} ${text.slice(0, 200)}`));
      });
    }).on("error", reject);
  });
}
