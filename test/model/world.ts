/* World: a broker, people who publish, devices that read, and the model that knows what must come of it.
 *
 * It goes in rounds:
 *
 *   quiet      relations change, the floor moves, the broker restarts, cursors are sought: one thing after another
 *   busy       many publish at once, without waiting, while devices come, read, acknowledge and vanish
 *   settled    every stream is told all up to the head, then compared; pages are read and compared
 *
 * Relations change in the quiet alone, so that what is delivered does not depend on the moment. */

import assert from "node:assert/strict";

import { WhalesongError } from "../../protocol/index.ts";
import { type Message, type SessionClient, offsetOf } from "../sessions/session-client.ts";
import { type BrokerUnderTest, startBroker } from "../workers/broker-under-test.ts";
import { type Entry, Model, type Name, rootOf } from "./model.ts";
import { type Publish, record } from "./publishing.ts";
import type { Random } from "./random.ts";
import { Device, type DeviceWorld, type Named, filterOf } from "./readers.ts";
import { Shown } from "./shown.ts";

const users: Name[] = ["Ann", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hal"];
/** They write, by way of others, and keep nothing: dropped when nothing refers to them, and back when they are named again. */
const guests: Name[] = ["Ike", "Jo"];
const everyone = [...users, ...guests];
const tags = ["node", "Song", "whale"];
const replies = [undefined, "all", "followed", "none"] as const;
const relations = [undefined, "everyone", "following", "followers", "mutuals", "strangers"] as const;

export class World implements DeviceWorld {
  readonly model = new Model();
  readonly shown = new Shown(this.model);
  readonly random: Random;
  readonly #folder: string;
  /** Whether posts have keys. While keys are in force no author is dropped, be they a guest: then guests do not write. */
  readonly #hasKeys: boolean;
  readonly #devices: Device[] = [];
  #broker: BrokerUnderTest | undefined;
  #publishers: SessionClient[] = [];
  #published: Publish[] = [];
  known = 0;
  commands = 0;
  events = 0;

  constructor(folder: string, random: Random) {
    this.#folder = folder;
    this.random = random;
    this.#hasKeys = random.chance(0.5);
    users.forEach((user, i) => {
      this.#devices.push(new Device(this, user, "phone"));
      if (i % 2 === 0) this.#devices.push(new Device(this, user, "laptop"));
    });
  }

  get broker(): BrokerUnderTest {
    return this.#broker!;
  }

  async start(): Promise<void> {
    this.#broker = await startBroker(this.#folder);
    this.#publishers = [];
    for (const user of users) {
      const client = await this.broker.connect(user);
      this.#publishers.push(client);
      // A user from here on, under this spelling.
      const followee = users.find((other) => other !== user);
      if (this.commands > 0) continue;
      for (const op of ["follow", "unfollow"]) await client.request(op, { user: followee });
      await client.request("cursor", { stream: "home", device: "another", set: "live" }); // who keeps something is not dropped
    }
  }

  async stop(): Promise<void> {
    await this.#broker?.stop();
    assert.deepEqual(this.#broker?.faults, []);
  }

  async round(): Promise<void> {
    await this.#quiet();
    await this.#busy();
    await this.#settle();
    for (let i = 0; i < 3; i++) await this.#checkPages();
    await this.#checkRelations();
  }

  /** A stream that `reader` may ask for; threads and users may be anyone's. */
  pickStream(reader: Name, random: Random): Named {
    const { model } = this;
    const posts = model.kept().filter((entry) => entry.kind === "post");
    switch (random.below(posts.length > 0 ? 10 : 9)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const chosen = random.pick(replies);
        const stream = {
          kind: "home" as const,
          reader,
          ...(chosen === undefined ? {} : { replies: chosen }),
        };
        return { stream, name: "home" };
      }
      case 4:
      case 5: {
        const from = random.pick(relations);
        const stream = { kind: "mentions" as const, reader, ...(from === undefined ? {} : { from }) };
        return { stream, name: "mentions" };
      }
      case 6: {
        const user = random.pick(everyone);
        return { stream: { kind: "user", user }, name: `user:${user}` };
      }
      case 7: {
        const tag = random.pick(tags).toLowerCase();
        return { stream: { kind: "tag", tag }, name: `tag:${tag}` };
      }
      case 8:
        return { stream: { kind: "firehose" }, name: "firehose" };
      default: {
        const root = rootOf(random.pick(posts));
        const post = random.pick(posts.filter((p) => rootOf(p) === root));
        return { stream: { kind: "thread", root: root.offset }, name: `thread:${this.#id(post.offset)}` };
      }
    }
  }

  async #quiet(): Promise<void> {
    const { random, model } = this;
    if (random.chance(0.08)) await this.#restart();
    for (let i = random.below(4); i > 0; i--) await this.#changeRelation();
    if (random.chance(0.12)) {
      const offsets = model.kept().map(({ offset }) => offset);
      const floor = offsets[random.below(Math.floor(offsets.length / 2) + 1)] ?? 0;
      await this.broker.trim(floor);
      model.floor = Math.max(model.floor, floor);
    }
    const away = this.#devices.filter((device) => !device.isConnected && device.hasCursors);
    if (away.length > 0 && random.chance(0.2)) {
      const device = random.pick(away);
      await device.seek(this.#publisher(device.user));
    }
  }

  async #restart(): Promise<void> {
    await this.broker.stop();
    assert.deepEqual(this.broker.faults, []);
    for (const device of this.#devices) device.gone();
    await this.start();
  }

  async #changeRelation(): Promise<void> {
    const { random, model } = this;
    const follower = random.pick(users);
    const followee = random.pick(users.filter((user) => user !== follower));
    const op = random.chance(0.6) ? "follow" : "unfollow";
    const answer = await this.#publisher(follower).request(op, { user: followee });
    assert.deepEqual(answer, { state: op === "follow" ? "following" : "none" });
    model[op](follower, followee);
    this.commands++;
  }

  async #busy(): Promise<void> {
    const { random } = this;
    const moves = 20 + random.below(60);
    for (let move = 0; move < moves; move++) {
      const choice = random.below(20);
      const device = random.pick(this.#devices);
      if (choice < 13) this.#publish();
      else if (choice < 15) device.acknowledge();
      else if (choice === 15 && device.isConnected) device.unsubscribe();
      else if (choice === 16 && device.isConnected) await device.disconnect();
      else if (choice < 19 && !device.isConnected) {
        await device.settle();
        if (!device.isConnected) device.connect();
      } else if (choice === 19) await this.#published.at(-1)?.outcome;
    }
  }

  #publish(): void {
    const { random, model } = this;
    const author = random.pick(this.#hasKeys ? users : everyone);
    // Recent entries are what people answer, repost and delete; some of this very round, once answered.
    const offsets = [
      ...model.entries.filter((entry) => entry.kind !== "delete").map(({ offset }) => offset),
      ...this.#published.flatMap(({ op, answer }) =>
        op !== "delete" && answer !== undefined ? [answer] : [],
      ),
    ].slice(-60);
    const target = offsets.length === 0 ? undefined : random.pick(offsets);
    const choice = random.below(10);
    const post = target === undefined ? undefined : this.#id(target);
    if (post !== undefined && choice < 3) this.#send({ op: "repost", author, target, fields: { post } });
    else if (post !== undefined && choice < 4) {
      const owner = model.entries.find(({ offset }) => offset === target)?.author ?? author;
      const by = random.chance(0.9) ? owner : author;
      this.#send({ op: "delete", author: by, target, fields: { post } });
    } else {
      const replyTo = post !== undefined && choice < 7 ? { replyTo: post } : {};
      this.#send({
        op: "post",
        author,
        target: "replyTo" in replyTo ? target : undefined,
        ...this.#words(replyTo),
      });
    }
  }

  /** What a post says, and what the broker must make of it. */
  #words(fields: Message): Pick<Publish, "fields" | "mentions" | "tags"> {
    const { random } = this;
    const mentions = random.some(everyone, 0.15);
    const tagged = random.some(tags, 0.2);
    // Guests are called as who made them last spelled them.
    const cased = mentions.map((user) =>
      users.includes(user) && random.chance(0.5) ? user.toUpperCase() : user,
    );
    const words = [`no ${random.below(1_000)}`];
    const isListed = random.chance(0.3);
    if (!isListed) words.push(...cased.map((user) => `@${user}`), ...tagged.map((tag) => `#${tag}`));
    const said: Message = { ...fields, text: words.join(" ") };
    if (isListed) Object.assign(said, { mentions: cased, tags: tagged });
    if (random.chance(0.2)) said["data"] = random.pick([null, false, 0, "", [1, "two"], { n: 1.5, of: {} }]);
    if (this.#hasKeys && random.chance(0.2)) said["key"] = `key ${random.below(30)}`;
    return { fields: said, mentions, tags: tagged };
  }

  #send(publish: Omit<Publish, "outcome" | "answer" | "error" | "cursor">): void {
    const sent: Publish = { ...publish, outcome: Promise.resolve() };
    const { op, author, fields } = publish;
    const as = users.includes(author) ? {} : { as: author };
    sent.outcome = this.#take(sent, this.#publisher(author).request(op, { ...fields, ...as }));
    this.#published.push(sent);
    this.commands++;
  }

  async #take(sent: Publish, answer: Promise<Message>): Promise<void> {
    try {
      const { id, cursor } = await answer;
      sent.answer = offsetOf(id);
      sent.cursor = offsetOf(cursor);
      this.known = Math.max(this.known, sent.cursor);
    } catch (error) {
      if (!(error instanceof WhalesongError)) throw error;
      sent.error = error;
    }
  }

  async #settle(): Promise<void> {
    const { model } = this;
    const published = this.#published.splice(0);
    await Promise.all(published.map(({ outcome }) => outcome));
    record(model, published);
    for (const device of this.#devices) await device.settle();
    const connected = (): number =>
      this.#publishers.length + this.#devices.filter((d) => d.isConnected).length;
    do {
      await this.broker.tick();
      for (const device of this.#devices) await device.ping();
    } while (this.#devices.some((d) => !d.isAtHead) || (await this.broker.sessionCount()) !== connected());
    for (const device of this.#devices) this.events += device.check();
    model.roundStart = model.head;
  }

  /** Reads a whole stream back and forth in pages of any size, and once from the middle. */
  async #checkPages(): Promise<void> {
    const { random, model } = this;
    const reader = random.pick(users);
    const { stream, name } = this.pickStream(reader, random);
    const client = this.#publisher(reader);
    if (stream.kind === "user" && !users.includes(stream.user) && !model.knows(stream.user)) {
      await assert.rejects(client.request("read", { stream: name }), { code: "not_found" });
      return;
    }
    const listed = model.listed(stream);
    const read = async (fields: Message): Promise<Message> => {
      const limit = 1 + random.below(30);
      const page = await client.request("read", { stream: name, limit, ...filterOf(stream), ...fields });
      assert.ok((page["items"] as Message[]).length <= limit);
      return page;
    };
    const compare = (items: Message[], expected: Entry[], title: string): void => {
      const got = items.map(({ cursor }) => offsetOf(cursor));
      const wanted = expected.map(({ offset }) => offset);
      assert.deepEqual(got, wanted, `${title}: ${reader} ${name} ${JSON.stringify(filterOf(stream))}`);
      items.forEach((item, i) => this.shown.compare(item, expected[i]!, stream, title));
    };
    const middle = this.random.pick([model.head, ...model.kept().map(({ offset }) => offset)]);
    for (const end of [undefined, middle]) {
      const back: Message[] = [];
      let before = end === undefined ? undefined : this.#id(end);
      do {
        const page = await read(before === undefined ? {} : { before });
        back.unshift(...(page["items"] as Message[]));
        before = page["before"] as string | undefined;
      } while (before !== undefined);
      compare(
        back,
        listed.filter(({ offset }) => offset < (end ?? Infinity)),
        "pages back",
      );
    }
    for (const start of [model.floor, middle]) {
      const forth: Message[] = [];
      let after = this.#id(start);
      for (;;) {
        const page = await read({ after });
        forth.push(...(page["items"] as Message[]));
        if (page["after"] === after || offsetOf(page["after"]) >= model.head) break;
        after = page["after"] as string;
      }
      compare(
        forth,
        listed.filter(({ offset }) => offset > start),
        "pages forth",
      );
    }
  }

  async #checkRelations(): Promise<void> {
    const { model, random } = this;
    const [one, other] = [random.pick(users), random.pick(users)];
    const client = this.#publisher(one);
    assert.deepEqual(handles(await client.request("following")), model.followees(one).toSorted());
    assert.deepEqual(
      handles(await client.request("followers", { user: other })),
      model.followers(other).toSorted(),
    );
    const following = model.isFollowing(one, other);
    const followedBy = model.isFollowing(other, one);
    const relationship = { user: other, following, followedBy, mutual: following && followedBy };
    assert.deepEqual(await client.request("relationship", { user: other }), relationship);
    for (const guest of guests) {
      const isThere = client.request("relationship", { user: guest }).then(
        () => true,
        () => false,
      );
      assert.equal(await isThere, model.knows(guest), `whether there is a user ${guest}`);
    }
  }

  #publisher(user: Name): SessionClient {
    return this.#publishers[Math.max(0, users.indexOf(user))]!;
  }

  #id(offset: number): string {
    return this.broker.positions.cursor(offset); // an id is the position at which it was published
  }
}

function handles({ users: list }: Message): string[] {
  return (list as string[]).toSorted();
}
