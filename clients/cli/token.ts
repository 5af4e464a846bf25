/* token: a JWT signed with the broker's secret, for trying things out and for backends. */

import { type Command, Option } from "commander";

import { checkHandle } from "../../protocol/names.ts";
import { exitTwoOnUsage, print, runCommand, UsageError } from "./command.ts";
import { readTextSync } from "./lines.ts";

const knownScopes = ["read", "write", "firehose", "backend", "admin"];
/** As HS256 asks for: RFC 7518, 3.2. */
const leastSecretBytes = 32;
const secondsOf: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };

interface TokenOptions {
  secret?: string;
  secretFile?: string;
  sub: string;
  scope: string;
  expires: string;
}

export function registerToken(program: Command): void {
  const command = program
    .command("token")
    .summary("make a token for a user")
    .description("Prints a JWT (HS256) for a broker that runs with --auth-secret-file or --auth-secret.")
    .addOption(
      new Option("--secret-file <file>", "a file with the broker's secret").env("WHALESONG_AUTH_SECRET_FILE"),
    )
    .addOption(new Option("--secret <secret>", "the secret itself").env("WHALESONG_AUTH_SECRET"))
    .requiredOption("--sub <handle>", "whose token")
    .option("--scope <scopes>", `space-separated, of ${knownScopes.join(", ")}`, "read write")
    .option("--expires <time>", "how long it lasts: 90s, 15m, 1h, 7d", "1h")
    .addHelpText(
      "after",
      `
Examples:
  $ whalesong token --secret-file secret --sub alice
  $ export WHALESONG_TOKEN=$(whalesong token --secret-file secret --sub app --scope "read write backend")`,
    )
    .action((options: TokenOptions) => runCommand(() => token(options, secretOf(command, options))));
  exitTwoOnUsage(command);
}

/** A flag beats a variable. @throws UsageError */
function secretOf(command: Command, { secret = "", secretFile = "" }: TokenOptions): string {
  const isSaid = (name: keyof TokenOptions): boolean => command.getOptionValueSource(name) === "cli";
  if (isSaid("secret") === isSaid("secretFile") && secret !== "" && secretFile !== "")
    throw new UsageError("--secret, --secret-file: give one of them");
  if (isSaid("secret")) {
    process.stderr.write(
      "whalesong: --secret: everybody on this machine sees a command line, and the secret in it: use --secret-file, or the variable WHALESONG_AUTH_SECRET\n",
    );
  }
  const found = secretFile === "" || isSaid("secret") ? secret : readSecret(secretFile);
  if (found !== "") return found;
  throw new UsageError(
    "--secret-file, --secret (WHALESONG_AUTH_SECRET_FILE, WHALESONG_AUTH_SECRET): the secret the broker runs with",
  );
}

/** As the broker reads it: without the end of its last line. */
function readSecret(path: string): string {
  try {
    return readTextSync(path).replace(/\r?\n$/, "");
  } catch (cause) {
    throw new UsageError(`--secret-file ${path}: ${(cause as Error).message}`, { cause });
  }
}

async function token(options: TokenOptions, secret: string): Promise<void> {
  const sub = parseHandle(options.sub);
  const scopes = options.scope.split(/\s+/).filter((scope) => scope !== "");
  const unknown = scopes.find((scope) => !knownScopes.includes(scope));
  if (unknown !== undefined) {
    throw new UsageError(`--scope: ${JSON.stringify(unknown)} is none of ${knownScopes.join(", ")}`);
  }
  const lifetimeSeconds = parseLifetime(options.expires);
  const secretBytes = Buffer.byteLength(secret);
  if (secretBytes < leastSecretBytes)
    throw new UsageError(
      `the secret has ${leastSecretBytes} bytes at least, or no broker takes it; got ${secretBytes}`,
    );
  const { SignJWT } = await import("jose");
  const nowSeconds = Math.floor(Date.now() / 1_000);
  const jwt = await new SignJWT({ scope: scopes.join(" ") })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setSubject(sub)
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + lifetimeSeconds)
    .sign(new TextEncoder().encode(secret));
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
