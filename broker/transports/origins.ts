/* Origins: which pages may use the broker from a browser.
 *
 * A page sends requests with the reach of whoever looks at it, and in open mode reach is all it takes. So in open mode
 * pages of other origins are refused; and so are requests to a host name that is not this machine's, since a page can
 * point its own name at a loopback address and so become of the same origin (DNS rebinding). With tokens there is nothing
 * to borrow: the browser's own rules for reading across origins are enough. */

import type { IncomingHttpHeaders } from "node:http";
import { isIP } from "node:net";

import { WhalesongError } from "../../protocol/index.ts";

/** Whether a page of `origin` was allowed by name, or by `*`. */
export function isAllowed(origin: string, corsOrigins: readonly string[]): boolean {
  return corsOrigins.includes("*") || corsOrigins.includes(origin);
}

/** Refuses what a page that was not allowed may have sent to a broker in open mode. @throws `forbidden` */
export function checkOpenModeOrigin(
  { origin, host }: IncomingHttpHeaders,
  corsOrigins: readonly string[],
): void {
  if (origin !== undefined && hostOf(origin) !== host && !isAllowed(origin, corsOrigins)) {
    throw new WhalesongError(
      "forbidden",
      `origin: pages of ${origin.slice(0, 200)} may not use this broker; allow them with --cors-origin`,
    );
  }
  const isNamed = corsOrigins.some((allowed) => allowed === "*" || hostOf(allowed) === host);
  if (host !== undefined && !isOwnName(host) && !isNamed) {
    throw new WhalesongError(
      "forbidden",
      `host: in open mode the broker is addressed as localhost or by IP, not as ${host.slice(0, 200)}; allow that with --cors-origin http://${host.slice(0, 200)}`,
    );
  }
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

/** Whether no name server has a say in where `host` is. */
function isOwnName(host: string): boolean {
  if (!URL.canParse(`http://${host}`)) return false;
  const { hostname } = new URL(`http://${host}`);
  const bare = hostname.replace(/^\[|\]$/g, "");
  return isIP(bare) !== 0 || bare === "localhost" || bare.endsWith(".localhost");
}

/** Headers that let an allowed page read an answer. */
export function corsHeaders(
  origin: string | undefined,
  corsOrigins: readonly string[],
): Record<string, string> {
  if (corsOrigins.length === 0) return {};
  if (corsOrigins.includes("*")) return { "access-control-allow-origin": "*", ...exposed };
  const vary = { vary: "Origin" }; // also for those without an origin: a cache must not give them to a page
  if (origin === undefined || !corsOrigins.includes(origin)) return vary;
  return { ...vary, "access-control-allow-origin": origin, ...exposed };
}

const exposed = { "access-control-expose-headers": "ETag, Location, Retry-After" };

/** Headers that answer a preflight of an allowed page. */
export const preflightHeaders = {
  "access-control-allow-methods": "GET, POST, PUT, DELETE",
  "access-control-allow-headers": "Authorization, Content-Type, Last-Event-ID, Cache-Control",
  "access-control-max-age": "600",
};
