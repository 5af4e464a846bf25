/* Who may do what in a NATS that runs with broker/deploy/nats-server.conf: nodes what they need, others nothing of Whalesong's. */

import { type ConnectionOptions, type NatsConnection, type TlsOptions, connect } from "nats";
import tap, { type Test } from "tap";

import { Machine } from "./machine.ts";
import { natsTest } from "./nats-server.ts";
import { Runbook } from "./runbook.ts";
import { certificateFiles, setUpNats } from "./set-up.ts";

await natsTest(
  tap,
  "nodes may use the log, others may not so much as see it",
  { timeoutMs: 120_000 },
  async (t) => {
    const machines = await Machine.three(t);
    await setUpNats(machines, new Runbook());
    const [first, second] = machines as [Machine, Machine];

    const node = await open(t, first, certificateFiles(first, "whalesong"));
    const manager = await node.jetstreamManager({ timeout: 10_000 });
    await manager.streams.add({ name: "WHALESONG", subjects: ["whalesong.log"], num_replicas: 3 });
    await node.jetstream().publish("whalesong.log", "a batch");
    const lastSeq = async (): Promise<number> => (await manager.streams.info("WHALESONG")).state.last_seq;
    t.equal(await lastSeq(), 1, "a node writes the log");

    const refused = /permissions violation/i;
    await t.rejects(
      manager.streams.add({ name: "OTHER", subjects: ["other"] }),
      refused,
      "and makes no other stream",
    );
    await t.rejects(heardOf(node, ">"), refused, "nor listens to all");
    await t.rejects(
      node.jetstream().publish("elsewhere", "a batch", { timeout: 2_000 }),
      refused,
      "nor publishes elsewhere",
    );

    const apps = await open(t, second, certificateFiles(second, "apps"));
    apps.publish("whalesong.log", "not a batch");
    await apps.flush();
    await node.jetstream().publish("whalesong.log", "another batch");
    t.equal(await lastSeq(), 2, "what another program says there does not come into the log");
    const heard = Promise.race([heardOf(apps, "whalesong.>"), heardOf(apps, "mark")]);
    await apps.flush();
    await node.jetstream().publish("whalesong.log", "a third");
    node.publish("whalesong.cursors", "cursors");
    await node.flush();
    apps.publish("mark", "");
    t.equal(await heard, "mark", "and it hears nothing of what nodes say");
    await t.rejects(
      apps.jetstreamManager({ timeout: 2_000 }),
      /jetstream not enabled|503|no responders/i,
      "it has no JetStream",
    );

    await t.rejects(
      open(t, first, certificateFiles(first, "nats-2")),
      /authorization/i,
      "no user is known by this certificate",
    );
    await t.rejects(
      open(t, first, { caFile: certificateFiles(first, "apps").caFile }),
      "none comes in without one",
    );
  },
);

async function open(t: Test, machine: Machine, tls: TlsOptions): Promise<NatsConnection> {
  const options: ConnectionOptions = { servers: machine.at(4222), tls, timeout: 5_000, reconnect: false };
  const connection = await connect(options);
  t.teardown(() => connection.close());
  return connection;
}

/** The subject of the first message heard. @throws when it may not be listened to */
async function heardOf(connection: NatsConnection, subject: string): Promise<string> {
  for await (const message of connection.subscribe(subject)) return message.subject;
  throw new Error(`the subscription to ${subject} ended`);
}
