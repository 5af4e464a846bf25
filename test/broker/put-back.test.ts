/* A copy of the data folder that is put back by hand, whatever it was copied with, begins a new epoch: a cursor from before is refused, and no id
 * names another post. What is no copy keeps its epoch. */

import { execFileSync } from "node:child_process";
import { chmod, cp, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import tap, { type Test } from "tap";

import { Broker } from "../../broker/broker.ts";
import type { BrokerOptions } from "../../broker/options.ts";
import { BrokerProcess } from "../crash/broker-process.ts";
import { budget } from "../pace.ts";

interface Place {
  data: string;
  copy: string;
  path: string;
}

async function place(t: Test): Promise<Place> {
  const path = await mkdtemp(join(tmpdir(), "whalesong-put-back-"));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return { path, data: join(path, "data"), copy: join(path, "copy") };
}

/** Runs a broker for as long as `work` takes. */
async function during<T>(
  data: string,
  work: (broker: Broker) => Promise<T>,
  options: Partial<BrokerOptions> = {},
): Promise<T> {
  const broker = await Broker.start({ data, port: 0, logLevel: "silent", drainMs: 0, ...options });
  try {
    return await work(broker);
  } finally {
    await broker.stop();
  }
}

interface Published {
  id: string;
  cursor: string;
}

async function publish({ url }: { url: string }, count: number): Promise<Published> {
  let last: Published | undefined;
  for (let number = 0; number < count; number++) {
    const answer = await fetch(`${url}/v1/posts?user=alice`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ text: `post ${number}` }),
    });
    last = (await answer.json()) as Published;
  }
  return last!;
}

/** The error's code of a read after `cursor`, or the number of items. */
async function readAfter({ url }: { url: string }, cursor: string): Promise<string | number> {
  const answer = await fetch(`${url}/v1/streams/user%3Aalice?user=bob&after=${cursor}`);
  const page = (await answer.json()) as { items?: unknown[]; error?: { code: string } };
  return page.error?.code ?? page.items!.length;
}

function sh(script: string, { data, copy, path }: Place): void {
  execFileSync("sh", ["-ec", script], { env: { ...process.env, data, copy, path }, stdio: "pipe" });
}

/** How the copy is made, and how it is put back. */
const ways: [what: string, take: string, putBack: string][] = [
  ["cp -a, the folder removed first", 'cp -a "$data" "$copy"', 'rm -r "$data"; cp -a "$copy" "$data"'],
  [
    "cp -r, the folder moved aside first",
    'cp -r "$data" "$copy"',
    'mv "$data" "$data.old"; cp -r "$copy" "$data"',
  ],
  ["mv of the copy", 'cp -a "$data" "$copy"', 'rm -r "$data"; mv "$copy" "$data"'],
  ["cp -a over the files that are there", 'cp -a "$data" "$copy"', 'cp -a "$copy/." "$data/"'],
  ["cp over the files that are there", 'cp -r "$data" "$copy"', 'cp "$copy"/* "$data/"'],
  ["cp over data.mdb alone", 'cp -r "$data" "$copy"', 'cp "$copy/data.mdb" "$data/data.mdb"'],
  [
    "data.mdb alone, the old one removed",
    'cp -r "$data" "$copy"',
    'rm "$data/data.mdb"; cp -a "$copy/data.mdb" "$data/"',
  ],
  [
    "data.mdb alone, into an empty folder",
    'cp -r "$data" "$copy"',
    'rm -r "$data"; mkdir "$data"; cp "$copy/data.mdb" "$data/"',
  ],
  [
    "dd over data.mdb, times put back",
    'cp -a "$data" "$copy"',
    'dd if="$copy/data.mdb" of="$data/data.mdb" status=none; touch -r "$copy/data.mdb" "$data/data.mdb"',
  ],
  ["tar over the files that are there", 'tar -C "$data" -cf "$copy" .', 'tar -C "$data" -xf "$copy"'],
  [
    "tar into an empty folder",
    'tar -C "$data" -cf "$copy" .',
    'rm -r "$data"; mkdir "$data"; tar -C "$data" -xpf "$copy"',
  ],
];

for (const [what, take, putBack] of ways) {
  await tap.test(`put back by ${what}: epoch_mismatch`, async (t) => {
    const at = await place(t);
    const { data } = at;
    await during(data, (broker) => publish(broker, 2));
    sh(take, at);
    const lost = await during(data, (broker) => publish(broker, 3));
    sh(putBack, at);
    await during(data, async (broker) => {
      t.match(broker.notices.join(), /new epoch begins/);
      await publish(broker, 4);
      t.equal(await readAfter(broker, lost.cursor), "epoch_mismatch");
      const found = await fetch(`${broker.url}/v1/posts/${lost.id}?user=bob`);
      t.equal(found.status, 404, "its id names no other post");
    });
    const { epoch } = await during(data, async (broker) => broker);
    await during(data, async (broker) => {
      t.equal(broker.epoch, epoch, "and that once");
      t.notMatch(broker.notices.join(), /epoch/);
    });
  });
}

await tap.test("put back after the broker was killed: epoch_mismatch", async (t) => {
  // Those that leave the files that are there, whose note is of the opening.
  for (const [what, take, putBack] of ways.filter(([way]) => /^(cp over|dd)/.test(way))) {
    const at = await place(t);
    await during(at.data, (broker) => publish(broker, 2));
    sh(take, at);
    const process = await BrokerProcess.start(at.data);
    const lost = await publish(process, 3);
    await process.kill();
    sh(putBack, at);
    await during(at.data, async (broker) => {
      await publish(broker, 4);
      t.equal(await readAfter(broker, lost.cursor), "epoch_mismatch", what);
    });
  }
});

/** Settles once it is noted beside the store that it has come to `id`. */
async function noted(data: string, { id }: Published): Promise<void> {
  const offset = Number(id.split("-")[1]);
  for (const end = performance.now() + budget(20_000); performance.now() < end; await sleep(50)) {
    const { head } = JSON.parse(await readFile(join(data, "opening.json"), "utf8")) as { head: number };
    if (head >= offset) return;
  }
  throw new Error(`it was not noted that the store has come to ${offset}`);
}

await tap.test("taken while the broker ran, and put back after it was killed: epoch_mismatch", async (t) => {
  for (const [what, take, putBack] of ways.filter(([way]) => /^(cp|dd)/.test(way))) {
    const at = await place(t);
    const process = await BrokerProcess.start(at.data);
    await publish(process, 2);
    sh(take, at);
    const lost = await publish(process, 3);
    await noted(at.data, lost);
    await process.kill();
    sh(putBack, at);
    await during(at.data, async (broker) => {
      await publish(broker, 4);
      t.equal(await readAfter(broker, lost.cursor), "epoch_mismatch", what);
    });
  }
});

await tap.test("what is no copy keeps its epoch", async (t) => {
  const at = await place(t);
  const { data } = at;
  const first = await during(data, (broker) => publish(broker, 2));
  const { cursor } = first;
  const isKept = async (what: string, where = data): Promise<void> => {
    await during(where, async (broker) => {
      t.same(broker.notices, [], what);
      t.equal(typeof (await readAfter(broker, cursor)), "number", what);
      await publish(broker, 1);
    });
  };
  await isKept("a restart");
  await isKept("another restart");
  const killed = await BrokerProcess.start(data);
  await noted(data, await publish(killed, 1));
  await publish(killed, 1);
  await killed.kill();
  await isKept("a kill");
  await chmod(join(data, "data.mdb"), 0o640);
  sh('chown -R "$(id -u)" "$data"; touch "$data"/*', at);
  await isKept("modes, owners and times that were changed");
  sh('cp -a "$data" "$copy"', at);
  await isKept("a copy that was taken");
  await rename(data, `${data}.elsewhere`);
  await isKept("a folder that was renamed", `${data}.elsewhere`);
});

await tap.test(
  "a store of a version that noted no openings keeps its epoch when it is opened first",
  async (t) => {
    const { data } = await place(t);
    const { State } = await import("../../broker/state/index.ts");
    const { Environment } = await import("../../broker/state/environment.ts");
    const { readMeta, writeMeta } = await import("../../broker/state/meta.ts");
    await (await State.open(data)).close();
    await rm(join(data, "opening.json"));
    const environment = new Environment(data);
    const { opening: _, ...meta } = readMeta(environment.tables.meta)!;
    await environment.transact(() => writeMeta(environment.tables.meta, meta)).flushed;
    await environment.close();
    const state = await State.open(data);
    t.equal(state.positions.epoch, meta.epochs.at(-1)!.name);
    t.same(state.notices, []);
    await state.close();
  },
);

await tap.test(
  "a broken note beside the store is as none: a new epoch, and no end of the broker",
  async (t) => {
    for (const text of [
      "",
      "{",
      "null",
      "[]",
      '{"opening":1}',
      "\u0000".repeat(100),
      '{"opening":"a","file":null,"store":{},"head":1}',
    ]) {
      const { data } = await place(t);
      const before = await during(data, async (broker) => broker.epoch);
      await writeFile(join(data, "opening.json"), text);
      await during(data, async (broker) => {
        t.not(broker.epoch, before, JSON.stringify(text));
      });
    }
  },
);

await tap.test(
  "--same-epoch keeps the epoch of a copy, --new-epoch changes that of any; not both, and neither in a cluster",
  async (t) => {
    const { data, copy } = await place(t);
    const before = await during(data, async (broker) => (await publish(broker, 1), broker.epoch));
    await cp(data, copy, { recursive: true });
    await during(
      copy,
      async (broker) => {
        t.equal(broker.epoch, before);
        t.match(broker.notices.join(), /stays the same, as was asked for/);
      },
      { sameEpoch: true },
    );
    await during(copy, async (broker) => t.equal(broker.epoch, before, "from then on it is the original"));
    await during(data, async (broker) => t.not(broker.epoch, before), { newEpoch: true });
    const nats = ["nats://127.0.0.1:1"];
    for (const options of [
      { sameEpoch: true, newEpoch: true },
      { newEpoch: true, nats },
      { sameEpoch: true, nats },
    ])
      await t.rejects(Broker.start({ data, port: 0, ...options }), {
        name: "OptionsError",
        message: /Epoch/,
      });
  },
);
