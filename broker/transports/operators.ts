/* Operators' port: health, readiness and metrics on a port of their own.
 *
 * The kernel keeps one queue of new connections for each port, and Node.js takes one of them at each turn of the event loop:
 * a health check that comes behind a crowd of clients waits for as many turns. Here nobody is ahead of it. And it stays
 * until the end of a drain, when the clients' port takes nobody any more. */

import { type FastifyInstance, LogController, fastify } from "fastify";

import {
  type HttpParts,
  addHealthRoutes,
  frameworkLogger,
  inTurn,
  isHealthCheck,
  refuseUnknown,
  refuser,
} from "./http.ts";
import { checkOpenModeOrigin } from "./origins.ts";

/** Programs that ask keep a connection each; more than these are closed: files are kept for other things. */
const mostConnections = 64;

export type OperatorParts = Pick<HttpParts, "logger" | "health" | "metrics" | "version"> & {
  /** Where pages are refused that use this machine's reach, as a broker in open mode does: the origins that are allowed. */
  guardedBut: readonly string[] | undefined;
};

/** The server, ready to listen. */
export async function createOperatorServer(parts: OperatorParts): Promise<FastifyInstance> {
  const refuse = refuser(parts);
  const logger = frameworkLogger(parts.logger);
  const server = fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    childLoggerFactory: () => logger,
    forceCloseConnections: true,
  });
  server.setErrorHandler((error, _request, reply) => refuse(error, reply));
  server.addHook("onRequest", inTurn);
  server.addHook("onRequest", async ({ raw, routeOptions }) => {
    if (parts.guardedBut !== undefined && !isHealthCheck(routeOptions.url))
      checkOpenModeOrigin(raw, parts.guardedBut);
  });
  server.addHook("onRequest", refuseUnknown);
  addHealthRoutes(server, parts);
  await server.ready();
  server.server.maxConnections = mostConnections;
  return server;
}
