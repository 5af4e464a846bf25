/* token: a JWT signed with the broker's secret, for trying things out and for backends. */

import { type Command, Option } from "commander";

import { checkHandle } from "../../protocol/names.ts";
import { exitTwoOnUsage, print, runCommand, UsageError } from "./command.ts";

const knownScopes = ["read", "write", "firehose", "backend", "admin"];
const secondsOf: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };

interface TokenOptions {
  secret?: string;
  sub: string;
  scope: string;
  expires: string;
}

export function registerToken(program: Command): void {
  const command = program
    .command("token")
    .summary("make a token for a user")
    .description("Prints a JWT (HS256) for a broker that runs with --auth-secret.")
    .addOption(new Option("--secret <secret>", "the broker's secret").env("WHALESONG_AUTH_SECRET"))
    .requiredOption("--sub <handle>", "whose token")
    .option("--scope <scopes>", `space-separated, of ${knownScopes.join(", ")}`, "read write")
    .option("--expires <time>", "how long it lasts: 90s, 15m, 1h, 7d", "1h")
    .addHelpText(
      "after",
      `
Examples:
  $ whalesong token --secret "$SECRET" --sub alice
  $ export WHALESONG_TOKEN=$(whalesong token --secret "$SECRET" --sub app --scope "read write backend")`,
    )
    .action((options: TokenOptions) => runCommand(() => token(options)));
  exitTwoOnUsage(command);
}

async function token(options: TokenOptions): Promise<void> {
  if (options.secret === undefined || options.secret === "") {
    throw new UsageError("--secret (WHALESONG_AUTH_SECRET): the secret the broker runs with");
  }
  const sub = parseHandle(options.sub);
  const scopes = options.scope.split(/\s+/).filter((scope) => scope !== "");
  const unknown = scopes.find((scope) => !knownScopes.includes(scope));
  if (unknown !== undefined) {
    throw new UsageError(`--scope: ${JSON.stringify(unknown)} is none of ${knownScopes.join(", ")}`);
  }
  const lifetimeSeconds = parseLifetime(options.expires);
  const { SignJWT } = await import("jose");
  const nowSeconds = Math.floor(Date.now() / 1_000);
  const jwt = await new SignJWT({ scope: scopes.join(" ") })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setSubject(sub)
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + lifetimeSeconds)
    .sign(new TextEncoder().encode(options.secret));
  await print(`${jwt}\n`);
}

function parseHandle(text: string): string {
  try {
    return checkHandle(text, "--sub");
  } catch (cause) {
    throw new UsageError((cause as Error).message, { cause });
  }
}

/** `90s`, `15m`, `1h`, `7d`, `2w` in seconds. @throws UsageError */
export function parseLifetime(text: string): number {
  const [, count, unit] = /^(\d{1,9})([smhdw])$/.exec(text) ?? [];
  const seconds = Number(count) * (secondsOf[unit ?? ""] ?? 0);
  if (!(seconds > 0)) {
    throw new UsageError(`--expires: a number and s, m, h, d or w, like 15m; got ${JSON.stringify(text)}`);
  }
  return seconds;
}
