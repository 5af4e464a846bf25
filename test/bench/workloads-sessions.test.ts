/* Workloads of sessions against a broker that runs already, at a tiny size: the counts are right, the result has its shape. How fast
 * the broker is, is not asked here. */

import { join } from "node:path";
import tap from "tap";

import { startBroker } from "../cli/broker.ts";
import { freePort } from "../free-port.ts";
import { bench, checkRow, measure } from "./harness.ts";

const broker = await startBroker(tap);
const folder = tap.testdir({});
const url = broker.url.replace(/^http/, "ws");
const here = ["--url", url, "--seconds", "0.3"];

await tap.test("reconnect: all come back and get just what they missed", async (t) => {
  const sizes = ["--sessions", "20", "--behind", "60", "--follows", "20"];
  const { result } = await measure(folder, "reconnect", ...here, ...sizes);
  const [row] = result.rows;
  checkRow(t, row!, "reconnect");
  t.equal(row!.deliveries, 20 * 60);
  t.match(row!.goals, [{ what: "until all are live", atMost: 60 }]);
});

await tap.test("slow: the slow ones get everything in the end", async (t) => {
  const sizes = ["--online", "20", "--paced", "6000", "--payload-bytes", "16000", "--turns", "1"];
  const { result } = await measure(folder, "slow", ...here, ...sizes);
  t.strictSame(
    result.rows.map(({ name }) => name),
    ["all quick", "a tenth slow, buffers filling", "a tenth slow, in catch-up"],
  );
  for (const row of result.rows) checkRow(t, row, "slow");
  t.equal(result.rows[0]!.goals, undefined);
  for (const row of result.rows.slice(1)) t.match(row.goals, [{ atMost: 1.2, unit: "times" }], row.name);
  t.match(
    result.rows[2]!.notes.join(" "),
    /had all gone back to catch-up \(whalesong_fallbacks_total\) \d+ s after/,
    "the last row begins once the broker says that they fell back",
  );
});

await tap.test("soak: sessions come and go, those that stay miss nothing", async (t) => {
  const sizes = ["--minutes", "0.05", "--online", "10", "--churning", "4", "--churn", "10", "--paced", "500"];
  const { result } = await measure(folder, "soak", ...here, ...sizes);
  const [row] = result.rows;
  checkRow(t, row!, "soak");
  t.ok(
    row!.notes.some((sentence) =>
      /^[1-9]\d* sessions came and went\. After each of 3 periods/.test(sentence),
    ),
    row!.notes.join(" "),
  );
});

await tap.test("idle: memory of a session", async (t) => {
  const sizes = ["--sessions", "20", "--follows", "5"];
  const { result } = await measure(folder, "idle", ...here, "--scale", "0.1", ...sizes);
  checkRow(t, result.rows[0]!, "idle");
  t.ok(Number.isFinite(result.rows[0]!.memory?.bytesPerSession));
});

await tap.test("what cannot be is said in one line", async (t) => {
  const port = await freePort();
  const refused = async (...args: string[]): Promise<string> => {
    const { status, stderr } = await bench(...args);
    t.not(status, 0, args.join(" "));
    return stderr;
  };
  t.match(await refused("whales"), /unknown command 'whales'/);
  t.match(await refused("whale", "--online", "many"), /whole numbers above 0, by commas/);
  t.match(await refused("whale", "--payload-bytes", "10"), /A whole number from \d+ to 16384/);
  t.match(
    await refused("whale", "--url", `ws://127.0.0.1:${port}`),
    /no Whalesong broker at ws:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/,
  );
  t.match(await refused("whale", "--url", `${url},ws://127.0.0.1:${port}`), /--url: one broker is measured/);
  t.match(await refused("graph", "--edges", join(folder, "none.txt")), /bench: .*none\.txt: ENOENT/);
});
