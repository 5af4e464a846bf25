/* Writes `folder-0.1.0` and what 0.1.0 answers about it, `folder-0.1.0.json`: once, since what is there is what tests compare with.
 *
 *     node --import=tsx test/old/write-folder.ts
 *
 *   early    guests who post once and are forgotten, passers-by who are only mentioned, a cursor that is left behind
 *   middle   publish keys; more guests, who stay while a key may be theirs
 *   late     names in many scripts: who follows, mentions, answers, reposts, deletes, and durable cursors under other spellings
 *
 * The broker keeps the newest 300 entries, and all is written through its public surface. */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { offsetOf } from "../sessions/session-client.ts";
import { type Account, type Answer, Asking, type Keyed, type Resumed } from "./answers.ts";
import { type Client, type PostOptions, connect } from "./client-0.1.0.mjs";
import { oldWhalesong, startOld } from "./old.ts";
import { type ScriptName, scripts } from "./scripts.ts";

const kept = 300;
/** The head at which each part of the story ends. */
const earlyEnd = 270;
const middleEnd = 480;
/** Guests: those before this number come early. */
const earlyGuests = 30;
const guests = 45;
const regulars = ["ann", "ben", "cleo", "dan"] as const;

const folder = fileURLToPath(new URL("folder-0.1.0", import.meta.url));
const account = `${folder}.json`;

class Story {
  #url: string;
  /** Acts as anybody. */
  #scribe: Client;
  /** Ids of posts whose text is of interest later, by a name. */
  readonly ids = new Map<string, string>();
  readonly keyed: Keyed[] = [];
  #head = 0;

  static async begin(url: string): Promise<Story> {
    return new Story(url, await connect(url, { user: "scribe", device: "desk" }));
  }

  private constructor(url: string, scribe: Client) {
    this.#url = url;
    this.#scribe = scribe;
  }

  get epoch(): string {
    return this.#scribe.epoch;
  }

  /** By HTTP, since the client gives every post a key. */
  async post(as: string, text: string, options: PostOptions = {}): Promise<string> {
    const response = await fetch(`${this.#url}/v1/posts?user=scribe`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ as, text, ...options }),
    });
    if (response.status !== 201) throw new Error(`${as}: ${text}: ${await response.text()}`);
    const { id, cursor } = (await response.json()) as { id: string; cursor: string };
    this.#head = Math.max(this.#head, offsetOf(cursor));
    return id;
  }

  /** Publishes under a key that is asked for again. */
  async keep(as: string, body: Keyed["body"]): Promise<string> {
    const id = await this.post(as, body.text, body);
    this.keyed.push({ user: as, body, answer: { id, cursor: "" } });
    return id;
  }

  async repost(as: string, id: string): Promise<string> {
    return (await this.#scribe.repost(id, { as })).id;
  }

  async delete(as: string, id: string): Promise<void> {
    await this.#scribe.delete(id, { as });
  }

  async follow(as: string, user: string): Promise<void> {
    await this.#scribe.follow(user, { as });
  }

  async unfollow(as: string, user: string): Promise<void> {
    await this.#scribe.unfollow(user, { as });
  }

  /** Moves a durable cursor: "live", "earliest" or to a cursor. */
  async seek(as: string, device: string, stream: string, set: string): Promise<void> {
    await this.#scribe.cursor(stream, { as, device, set });
  }

  /** Regulars talk until the head is there. */
  async talkUntil(head: number): Promise<void> {
    for (let i = 0; this.#head < head; i++) {
      const user = regulars[i % regulars.length]!;
      await this.post(user, `small talk ${this.#head} of @${regulars[(i + 1) % regulars.length]}`);
    }
  }

  /** Settles once retention has nothing left to do: it leaves less than 16 entries more than it keeps. */
  async settled(): Promise<void> {
    await this.post("ann", "the newest");
    while (this.#head - (await this.floor()) >= kept + 16) await sleep(100);
  }

  /** Entries up to it are gone. */
  async floor(): Promise<number> {
    const after = encodeURIComponent(`${this.epoch}-0`);
    const response = await fetch(`${this.#url}/v1/streams/firehose?user=scribe&after=${after}`);
    const { error } = (await response.json()) as { error?: { floor: string } };
    return error === undefined ? 0 : offsetOf(error.floor);
  }

  /** Whether the broker knows the user. */
  async knows(user: string): Promise<boolean> {
    const path = `/v1/users/scribe/relationship/${encodeURIComponent(user)}?user=scribe`;
    return (await fetch(`${this.#url}${path}`)).status === 200;
  }

  /** Asks for everything under a key once more. */
  async askKeysAgain(): Promise<void> {
    for (const keyed of this.keyed) {
      const { user: as, body } = keyed;
      const { id, cursor } = await this.#scribe.post(body.text, { as, ...body });
      if (id !== keyed.answer.id) throw new Error(`${body.key} is ${id}`);
      keyed.answer = { id, cursor };
    }
  }

  /** The broker was started again. */
  async goOn(url: string): Promise<void> {
    await this.#scribe.close();
    this.#url = url;
    this.#scribe = await connect(url, { user: "scribe", device: "desk" });
  }

  async end(): Promise<void> {
    await this.#scribe.close();
  }
}

async function early(story: Story): Promise<void> {
  for (const [user, target] of [
    ["ann", "ben"],
    ["ann", "cleo"],
    ["ben", "ann"],
    ["cleo", "ann"],
    ["dan", "ann"],
    ["dan", "ben"],
    ["lurker", "ann"],
    ["lurker", "dan"],
  ] as const)
    await story.follow(user, target);
  await story.unfollow("dan", "ben");
  // Is behind the floor later: who resumes is told so.
  await story.seek("lurker", "old tablet", "home", "live");
  for (let guest = 0; guest < earlyGuests; guest++) {
    const id = await story.post(`guest-${guest}`, `I was here, and so was @passer_by_${guest} #early`);
    if (guest % 3 === 0) await story.repost("cleo", id);
    if (guest % 4 === 0) await story.post("ben", `welcome`, { replyTo: id });
    if (guest % 5 === 0) await story.follow(`guest-${guest}`, "ann");
    if (guest % 10 === 0) await story.unfollow(`guest-${guest}`, "ann");
  }
  // Of somebody who is forgotten later, and of somebody who never came.
  await story.seek("lurker", "phone", "user:guest-7", "live");
  await story.seek("lurker", "phone", "user:Nobody-Yet", "live");
  await story.seek("lurker", "phone", "tag:early", "earliest");
  await story.talkUntil(earlyEnd);
}

async function middle(story: Story): Promise<void> {
  for (let guest = earlyGuests; guest < guests; guest++)
    await story.post(`guest-${guest}`, `late, and without a key`, { mentions: [`Passer_By_${guest}`] });
  for (const user of regulars) await story.keep(user, { text: `${user} once`, key: `gone ${user}` });
  await story.talkUntil(middleEnd);
  await story.settled();
  if (await story.knows("guest-3")) throw new Error("guest-3 was to be forgotten");
  await story.post("GUEST-3", "back again, and louder");
}

/** The names of a script, counted round. */
function about(i: number): ScriptName {
  return scripts[(i + scripts.length) % scripts.length]!;
}

async function late(story: Story): Promise<void> {
  for (const [i, { script, handle, again, tag, tagAgain }] of scripts.entries()) {
    const next = about(i + 1);
    const text = `a song in ${script}`;
    const options = { mentions: [about(i - 1).again, "ann"], tags: [tag], data: { script, number: i } };
    const song = await story.post(handle, text, { ...options, key: `song ${i}` });
    story.ids.set(script, song);
    await story.follow(again, next.handle);
    if (i % 3 === 0) await story.follow("ann", again);
    if (i % 4 === 0)
      story.ids.set(
        `answer to ${script}`,
        await story.post(next.again, `re ${script}`, { replyTo: song, tags: [tagAgain], mentions: [again] }),
      );
    if (i % 5 === 0) story.ids.set(`repost of ${script}`, await story.repost("ben", song));
    if (i % 15 === 0) await story.delete("ben", story.ids.get(`repost of ${script}`)!);
    if (i % 9 === 0) await story.delete(again, song);
    if (i % 20 === 0) await story.settled();
  }
  // Ben follows again: what came between is not pushed, and pages show it.
  await story.unfollow("ben", "ann");
  await story.post("ann", "unseen by @ben");
  await story.follow("ben", "ANN");
  await conversations(story);
}

/** Durable cursors, each moved to more than one place; retention has ended, so that all but those of before are ahead of the floor. */
async function cursors(story: Story, url: string): Promise<void> {
  for (const [i, { again, tagAgain }] of scripts.entries()) {
    const [first, second] = i % 2 === 0 ? (["live", "earliest"] as const) : (["earliest", "live"] as const);
    await story.seek(again, "phone", `user:${about(i + 1).again}`, first);
    await story.seek(about(i + 2).again, "Телефон", `tag:${tagAgain}`, second);
    if (i % 5 === 0) await story.seek(again, "phone", `user:${about(i + 1).handle}`, second);
  }
  await story.seek("ben", "phone", `thread:${story.ids.get("talk")}`, "earliest");
  await story.seek("scribe", "desk", "firehose", "live");
  for (const { user, device, streams } of [
    { user: "ann", device: "phone", streams: ["home", "mentions"] },
    { user: "ben", device: "laptop", streams: ["home", "tag:MASSE", `thread:${story.ids.get("more")}`] },
  ]) {
    for (const stream of streams)
      for (const set of ["earliest", "live", "earliest"]) await story.seek(user, device, stream, set);
    const me = await connect(url, { user, device, codec: device === "phone" ? "msgpack" : "json" });
    for (const stream of streams) await acknowledgeSome(me, stream);
    await me.close();
  }
}

async function acknowledgeSome(me: Client, name: string): Promise<void> {
  const stream = me.stream(name, { ack: "manual" });
  let left = 2;
  for await (const event of stream) {
    if (event.event === "live" || event.event === "cursor" || --left > 0) continue;
    stream.ack();
    break;
  }
}

/** Threads, data, texts, and names that are given twice. */
async function conversations(story: Story): Promise<void> {
  const talk = await story.post("ann", "shall we talk? #Maße", { data: null });
  const yes = await story.post("ben", "yes", { replyTo: talk, data: [] });
  const shown = await story.repost("cleo", yes);
  const more = await story.post("dan", "about what?", {
    replyTo: shown,
    data: { deep: [[[{ at: [1.5e-7] }]]] },
  });
  await story.post("ann", "about whales", { replyTo: more, data: "a string, \u0000 and \u{1f40b}" });
  await story.delete("ben", yes);
  story.ids.set("talk", talk).set("gone", yes).set("repost", shown).set("more", more);
  await story.post("cleo", "", { data: { big: 2 ** 53, negative: -1, none: null, yes: true, "": "" } });
  await story.post("cleo", "long ".repeat(2_000), { tags: ["Long"] });
  await story.post("dan", "all of them one", {
    mentions: ["Straße", "STRASSE", "strasse", "ΣΊΣΥΦΟΣ", "Σίσυφος"],
    tags: ["Maße", "#MASSE", "masse", "ὉΔΌΣ", "ὁδός"],
  });
  await story.post("dan", "in the text: @ANN @ben @ben ＠cleo #Straße ＃STRASSE #日本語 #e\u0301te\u0301");
  await story.keep("ann", { text: "only once", key: "9f1c2e" });
  await story.keep("Σίσυφος", { text: "only once, too", key: "9f1c2e" });
  await story.keep("dan", { text: "an answer, once", key: "answer", replyTo: more });
  const deleted = await story.keep("cleo", { text: "deleted since", key: "deleted" });
  await story.delete("cleo", deleted);
}

function pathOf(user: string): string {
  return `/v1/users/${encodeURIComponent(user)}`;
}

/** All that is asked about the folder. */
async function askAll(story: Story, asking: Asking, floor: string): Promise<Answer[]> {
  const answers: Answer[] = [];
  const ask = async (path: string): Promise<void> => void answers.push(await asking.ask(path));
  const read = async (user: string, stream: string, limit: number, filter = ""): Promise<void> => {
    const path = `/v1/streams/${encodeURIComponent(stream)}?user=${encodeURIComponent(user)}${filter}`;
    answers.push(...(await asking.stream(path, limit, floor)));
  };
  const readers = [...regulars, "lurker", "GUEST-3", "Σίσυφος", "STRASSE", "ᲗᲐᲛᲐᲠ"];
  for (const reader of readers) {
    for (const filter of ["", "&replies=all", "&replies=none"]) await read(reader, "home", 30, filter);
    for (const filter of ["", "&from=mutuals", "&from=followers", "&from=strangers"])
      await read(reader, "mentions", 20, filter);
    for (const [side, limit] of [
      ["following", 7],
      ["followers", 7],
    ] as const) {
      let after: string | undefined;
      do {
        const query = `?user=scribe&limit=${limit}${after === undefined ? "" : `&after=${after}`}`;
        await ask(`${pathOf(reader)}/${side}${query}`);
        ({ after } = answers.at(-1)!.answer as { after?: string });
      } while (after !== undefined);
    }
    for (const other of [...readers, "guest-7"])
      await ask(`${pathOf(reader)}/relationship/${encodeURIComponent(other)}?user=scribe`);
  }
  await read("scribe", "firehose", 50);
  for (const { handle, again, tag, tagAgain } of scripts) {
    await read("ann", `user:${again}`, 5);
    await read("ann", `tag:${tagAgain}`, 5);
    await ask(`${pathOf(handle)}/following?user=scribe`);
    await ask(`${pathOf(again)}/followers?user=scribe`);
    await ask(`${pathOf("ann")}/relationship/${encodeURIComponent(again)}?user=scribe`);
    for (const spelling of [handle, again]) await ask(`${pathOf(spelling)}/posts?user=ann&limit=1`);
    for (const spelling of [tag, tagAgain])
      await ask(`/v1/streams/${encodeURIComponent(`tag:${spelling}`)}?user=ann&limit=1`);
  }
  for (const tag of ["early", "long", "日本語", "été"]) await read("dan", `tag:${tag}`, 3);
  for (const guest of [0, 3, 7, earlyGuests - 1]) {
    await read("dan", `user:guest-${guest}`, 3);
    await ask(`${pathOf("ann")}/relationship/passer_by_${guest}?user=scribe`);
  }
  for (const id of story.ids.values()) {
    await ask(`/v1/posts/${id}?user=dan`);
    await read("dan", `thread:${id}`, 3);
  }
  return answers;
}

/** The durable cursors, under each name. */
async function askCursors(story: Story, asking: Asking): Promise<Answer[]> {
  const answers: Answer[] = [];
  const ask = async (user: string, device: string, stream: string): Promise<void> => {
    const path = `${pathOf(user)}/cursors/${encodeURIComponent(stream)}`;
    answers.push(await asking.ask(`${path}?user=scribe&device=${encodeURIComponent(device)}`));
  };
  for (const [i, { handle, again, tag, tagAgain }] of scripts.entries()) {
    const next = about(i + 1);
    const other = about(i + 2);
    for (const name of [next.handle, next.again]) await ask(handle, "phone", `user:${name}`);
    await ask(again, "another", `user:${next.handle}`);
    for (const name of [tag, tagAgain]) await ask(other.handle, "Телефон", `tag:${name}`);
  }
  for (const stream of ["home", "mentions"])
    for (const user of ["ann", "ben", "lurker"])
      for (const device of ["phone", "laptop", "old tablet"]) await ask(user, device, stream);
  await ask("scribe", "desk", "firehose");
  for (const stream of ["user:GUEST-7", "user:nobody-yet", "tag:Early"]) await ask("lurker", "phone", stream);
  await ask("ben", "laptop", "tag:maße");
  for (const name of ["talk", "more"]) await ask("BEN", "phone", `thread:${story.ids.get(name)}`);
  return answers;
}

/** What comes behind each cursor, as a stream that begins there tells it. */
async function followOn(url: string, asking: Asking, answers: readonly Answer[]): Promise<Resumed[]> {
  const me = await connect(url, { user: "scribe", device: "looks on" });
  const resumed = new Map<string, Resumed>();
  for (const { path, answer } of answers) {
    const { stream, device, cursor } = answer as Partial<Resumed>;
    if (stream === undefined || device === undefined || cursor === undefined) continue;
    const user = decodeURIComponent(path.split("/")[3]!);
    const events = await asking.behind(me.stream(stream, { as: user, from: cursor, ack: "manual" }));
    resumed.set(`${user} ${device} ${stream}`, { user, device, stream, cursor, events });
  }
  await me.close();
  return [...resumed.values()];
}

/** One question a line, so that a difference is found. */
function linesOf(whole: Account): string {
  const parts = Object.entries(whole).map(([key, value]) => {
    if (!Array.isArray(value)) return `  ${JSON.stringify(key)}: ${JSON.stringify(value)}`;
    const lines = value.map((one) => `    ${JSON.stringify(one)}`);
    return `  ${JSON.stringify(key)}: [\n${lines.join(",\n")}\n  ]`;
  });
  return `{\n${parts.join(",\n")}\n}\n`;
}

const work = await mkdtemp(join(tmpdir(), "whalesong-0.1.0-"));
const data = join(work, "data");
const [story, floor] = await during(["--retain-count", String(kept)], async ({ url }) => {
  const begun = await Story.begin(url);
  await early(begun);
  await middle(begun);
  await late(begun);
  await begun.settled();
  return [begun, await begun.floor()] as const;
});
await during([], async ({ url }) => {
  await story.goOn(url);
  await cursors(story, url);
  await story.askKeysAgain();
  await story.end();
});
const {
  epoch,
  offset: head,
  digest,
} = JSON.parse(await oldWhalesong("doctor", "--data", data, "--digest", "--json")) as {
  epoch: string;
  offset: number;
  digest: string;
};
await rm(folder, { recursive: true, force: true });
await oldWhalesong("backup", folder, "--data", data);

const told = await during([], async ({ url }) => {
  const asking = new Asking(url, head);
  const answers = await askAll(story, asking, `${epoch}-${floor}`);
  const cursorAnswers = await askCursors(story, asking);
  const whileKeyed: Answer[] = [];
  for (let guest = earlyGuests; guest < guests; guest++)
    whileKeyed.push(await asking.ask(`/v1/users/ann/relationship/guest-${guest}?user=scribe`));
  const resumed = await followOn(url, asking, cursorAnswers);
  return { items: asking.items, answers: [...answers, ...cursorAnswers], whileKeyed, resumed };
});
const { version } = JSON.parse(await readFile(join(folder, "backup.json"), "utf8")) as { version: string };
const { keyed } = story;
const whole: Account = { version, at: Date.now(), epoch, head, floor, digest, keyed, ...told };
await writeFile(account, linesOf(whole));
await rm(work, { recursive: true });

/** Runs the broker for as long as `part` takes. */
async function during<T>(
  flags: readonly string[],
  part: (broker: { url: string }) => Promise<T>,
): Promise<T> {
  const broker = await startOld(data, ...flags);
  const result = await part(broker);
  await broker.stop();
  return result;
}
