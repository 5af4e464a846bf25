/* The NATS servers that tests of clusters run: what was stored is there after they were killed, and a leader that is killed is replaced. */

import { ErrorCode, type NatsConnection, type NatsError, StorageType, type StreamInfo, connect } from "nats";
import tap from "tap";

import { NatsServers, natsTest } from "./nats-server.ts";

const timeoutMs = 120_000;

await natsTest(tap, "one server, killed and started again, has what it stored", { timeoutMs }, async (t) => {
  const nats = await NatsServers.for(t);
  const [server] = nats.servers;
  await store(nats, 1);
  const { pid } = server!;
  await nats.kill();
  t.notOk(server!.isRunning);
  await nats.start();
  t.not(server!.pid, pid);
  t.equal(await stored(nats), 1);
  t.equal((await nats.leaderOf("KEPT")).name, "n1");
});

await natsTest(tap, "of three servers any may be killed", { timeoutMs }, async (t) => {
  const nats = await NatsServers.for(t, { servers: 3 });
  await store(nats, 3);
  for (let kill = 1; kill <= 2; kill++) {
    const leader = await nats.leaderOf("KEPT");
    await leader.kill();
    const next = await nats.leaderOf("KEPT");
    t.not(next.name, leader.name);
    t.equal(await stored(nats), 1);
    await nats.start();
  }
  await nats.stop();
  await nats.start();
  t.equal(await stored(nats), 1, "also when all were stopped");
});

await natsTest(tap, "a server can ask for a token", { timeoutMs }, async (t) => {
  const nats = await NatsServers.for(t, { configuration: "authorization { token: secret }" });
  await t.rejects(connect({ servers: nats.urls }), { code: "AUTHORIZATION_VIOLATION" });
  await (await connect({ servers: nats.urls, token: "secret" })).close();
});

async function store(nats: NatsServers, replicas: number): Promise<void> {
  const connection = await connect({ servers: nats.urls.split(",") });
  const manager = await connection.jetstreamManager();
  await manager.streams.add({
    name: "KEPT",
    subjects: ["kept"],
    storage: StorageType.File,
    num_replicas: replicas,
  });
  await connection.jetstream().publish("kept", "a message");
  await connection.close();
}

async function stored(nats: NatsServers): Promise<number> {
  const connection = await connect({ servers: nats.urls.split(","), maxReconnectAttempts: -1 });
  try {
    return (await informationOf(connection)).state.messages;
  } finally {
    await connection.close();
  }
}

/** A server that has just become the leader may leave a question unanswered. */
async function informationOf(connection: NatsConnection): Promise<StreamInfo> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await (await connection.jetstreamManager()).streams.info("KEPT");
    } catch (error) {
      if ((error as NatsError).code !== (ErrorCode.Timeout as string) || attempt === 6) throw error;
    }
  }
}
