/* nats-server with JetStream, alone, for the nodes of a cluster. https://docs.nats.io/reference/reference-protocols/nats-protocol */

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Address, Dialect } from "../load/dialect.ts";
import { nats } from "../peers/nats.ts";
import { requireProgram } from "./programs.ts";
import { type Server, startServer } from "./server.ts";

const program = "nats-server";

export interface NatsServerOptions {
  folder: string;
  signal: AbortSignal;
}

/** @throws that it is not installed, and how to */
export async function startNatsServer({ folder, signal }: NatsServerOptions): Promise<Server> {
  const file = requireProgram(program, { for: "a cluster", install: nats.install });
  return await startServer({
    name: program,
    prepare: (port) => {
      const config = join(folder, "nats.conf");
      writeFileSync(config, configuration(folder, port));
      return { file, args: ["-c", config] };
    },
    dialect: greeting,
    cores: undefined,
    signal,
  });
}

/** As it comes, but for its folder: JetStream may have as much of the disk as there is. */
function configuration(folder: string, port: number): string {
  return `host: 127.0.0.1
port: ${port}
server_name: bench
jetstream {
  store_dir: ${JSON.stringify(join(folder, "jetstream"))}
  max_mem: 256MB
  max_file: 100GB
}
`;
}

/** Enough of its protocol to see that it is there. */
function greeting(address: Address): Dialect {
  const hello = 'CONNECT {"verbose":false,"pedantic":false}\r\nPING\r\n';
  const steps = [{ send: Buffer.from(hello), until: Buffer.from("PONG\r\n"), refusal: Buffer.from("-ERR") }];
  return { address, reader: () => ({ steps }), publisher: () => ({ steps, publish: refuse }) };
}

function refuse(): never {
  throw new Error("nothing is published to NATS itself");
}
