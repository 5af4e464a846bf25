/* Baseline: what a delivery costs at the least on this machine, as a target like any other.
 *
 *   a C compiler is there   send-loop.c             one send() for each socket
 *   otherwise               write-loop-server.ts    socket.write for each, in Node.js; the rows say so
 *
 * It knows one topic: every reader gets every post. One post in flight is its only use: its sockets' buffers would fill
 * otherwise. Measured in turns with a server it is what that server's CPU for a delivery is divided by. */

import { nodeLaunch } from "../targets/node-launch.ts";
import { type Launch, startServer } from "../targets/server.ts";
import type { Abilities, Running, StartOptions, Target } from "../targets/target.ts";
import { type Compiler, compileSendLoop, findCompiler } from "./compile.ts";
import { createDialect } from "./dialect.ts";

export interface BaselineOptions {
  /** Of every payload; whole ones are sent on. */
  payloadBytes: number;
}

const cName = "C send loop";
const abilities: Abilities = { follows: false, resumes: false, mentions: false, answers: false };

/** The C loop where it can be compiled, and the loop in Node.js elsewhere. */
export function chooseBaseline(options: BaselineOptions): Target {
  const compiler = findCompiler();
  return compiler === undefined ? writeLoop(options) : sendLoop(compiler, options);
}

/** For a result's notes. */
export function aboutBaseline({ name, version }: Target): string {
  const loop =
    name === cName
      ? `one send() for each socket in C (${version})`
      : `one socket.write for each socket in Node.js, since there is no C compiler (apt-get install gcc): ratios to it are lower than to send() in C`;
  return `Ratios are to ${loop}, with as many sockets and one post in flight, measured just before.`;
}

/** One send() of the payload for each socket, in C. */
export function sendLoop(compiler: Compiler, { payloadBytes }: BaselineOptions): Target {
  return baseline(cName, compiler.version, ({ folder, port }) => ({
    file: compileSendLoop(compiler, folder),
    args: [String(port), String(payloadBytes)],
  }));
}

/** One `socket.write` of the payload for each socket, in Node.js. */
export function writeLoop({ payloadBytes }: BaselineOptions): Target {
  return baseline("Node.js write loop", process.version, ({ port }) =>
    nodeLaunch("bench/baseline/write-loop-server", port, payloadBytes),
  );
}

function baseline(
  name: string,
  version: string,
  launch: (where: { folder: string; port: number }) => Launch,
): Target {
  return {
    name,
    version,
    abilities,
    async start(options: StartOptions): Promise<Running> {
      const prepare = (port: number): Launch => launch({ folder: options.folder, port });
      const server = await startServer({
        ...options,
        name,
        prepare,
        dialect: (address) => createDialect({ address }),
      });
      return server.asTarget(() => ({ module: "baseline/dialect", options: { address: server.address } }));
    },
  };
}
