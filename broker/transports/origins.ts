/* Origins: which pages may use the broker from a browser.
 *
 * A page sends requests with the reach of whoever looks at it, and in open mode reach is all it takes. So in open mode
 * pages of other origins are refused: by `Origin`, and where a browser sends none (a form's GET, a link, an image), by
 * `Sec-Fetch-Site`. Requests to a host name that is not this machine's are refused too, since a page can point its own
 * name at a loopback address and so become of the same origin (DNS rebinding). All this is judged by what a request's
 * headers say and not by its path, which can be spelled in many ways. With tokens there is nothing to borrow: the
 * browser's own rules for reading across origins are enough. */

import type { IncomingHttpHeaders, IncomingMessage } from "node:http";
import { isIP } from "node:net";

import { WhalesongError } from "../../protocol/index.ts";

/** Whether a page of `origin` was allowed by name, or by `*`. */
export function isAllowed(origin: string, corsOrigins: readonly string[]): boolean {
  return corsOrigins.includes("*") || corsOrigins.includes(origin);
}

/** Refuses what a page that was not allowed may have sent to a broker in open mode, whatever it asks for. @throws `forbidden` */
export function checkOpenModeOrigin(request: IncomingMessage, corsOrigins: readonly string[]): void {
  const { origin, "sec-fetch-site": site } = request.headers;
  const hosts = hostsOf(request);
  for (const host of hosts) checkHost(host, corsOrigins);
  if (corsOrigins.includes("*") || (origin !== undefined && corsOrigins.includes(origin))) return;
  const isOwnPage =
    origin === undefined || (hosts.length > 0 && hosts.every((host) => host === hostOf(origin)));
  if (!isOwnPage) {
    throw new WhalesongError(
      "forbidden",
      `origin: pages of ${origin.slice(0, 200)} may not use this broker; allow them with --cors-origin`,
    );
  }
  if (site === undefined || site === "none" || site === "same-origin") return;
  throw new WhalesongError(
    "forbidden",
    "sec-fetch-site: a page of another origin asks; allow it with --cors-origin, and let it ask by fetch, EventSource or a module script, which say their origin",
  );
}

/** @throws `forbidden` */
function checkHost(host: string, corsOrigins: readonly string[]): void {
  if (isOwnName(host) || corsOrigins.some((allowed) => allowed === "*" || hostOf(allowed) === host)) return;
  const shown = host.slice(0, 200);
  throw new WhalesongError(
    "forbidden",
    `host: in open mode the broker is addressed as localhost or by IP, not as ${shown}; allow that with --cors-origin http://${shown}`,
  );
}

/** The hosts that a request is sent to: that of each `Host`, and that of a target which is a whole URL. */
function hostsOf({ url = "", headersDistinct }: IncomingMessage): string[] {
  const [, authority] = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(url) ?? [];
  const named = headersDistinct["host"] ?? [];
  return authority === undefined ? named : [...named, authority];
}

/** The host of a page from the web; a page of an app has a name of its own, which is no host. */
function hostOf(origin: string): string | undefined {
  return /^https?:/.test(origin) && URL.canParse(origin) ? new URL(origin).host : undefined;
}

/** Whether no name server has a say in where `host` is. */
function isOwnName(host: string): boolean {
  if (/[^a-z0-9.:[\]-]/i.test(host) || !URL.canParse(`http://${host}`)) return false;
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

/** Headers that pages may always send, and how much of what else they ask for is answered, in characters. */
const usualHeaders = "Authorization, Content-Type, Last-Event-ID, Cache-Control";
const maxAskedChars = 4_096;

/** Headers that answer a preflight of an allowed page. It may send what it likes, as programs may: no cookie is read here. */
export function preflightHeaders(asked: IncomingHttpHeaders): Record<string, string> {
  const names = (asked["access-control-request-headers"] ?? "").slice(0, maxAskedChars).split(",");
  const tokens = names.map((name) => name.trim()).filter((name) => /^[\w!#$%&'*+.^`|~-]+$/.test(name));
  const isToPrivateNetwork = asked["access-control-request-private-network"] === "true";
  return {
    "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "access-control-allow-headers": [usualHeaders, ...tokens].join(", "),
    "access-control-max-age": "600",
    ...(isToPrivateNetwork ? { "access-control-allow-private-network": "true" } : {}),
  };
}
