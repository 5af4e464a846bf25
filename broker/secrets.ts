/* Secrets: where an operator keeps them, and who else can read them there.
 *
 * Every user of a machine sees the command lines of all programs, and reads each file that is not closed to them. Variables
 * are seen by the program's own user alone. What stands where others can read it is warned of, and used all the same. */

import { statSync } from "node:fs";

import { type BrokerOptions, OptionsError, isOpenMode } from "./options.ts";
import { readTextSync } from "./text-file.ts";

/** Options that are secrets themselves, with what keeps them from the command line. */
export const secretOptions: Partial<Record<keyof BrokerOptions, string>> = {
  authSecret: "--auth-secret-file, or the variable WHALESONG_AUTH_SECRET",
  natsToken: "--nats-creds, or the variable WHALESONG_NATS_TOKEN",
};

/** The text of a file but for the end of its last line. @throws OptionsError */
export function readSecret(path: string): string {
  let text: string;
  try {
    text = readTextSync(path);
  } catch (cause) {
    throw new OptionsError(`auth-secret-file ${path}: cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (text.includes("\uFFFD")) {
    throw new OptionsError(
      `auth-secret-file ${path}: this is not UTF-8; make one with: openssl rand -base64 32 > ${path}`,
    );
  }
  return text.replace(/\r?\n$/, "");
}

/** What an operator should know before strangers do; each a sentence of its own. */
export function warningsOf(options: BrokerOptions): string[] {
  const { audience, maxTokenAgeMs } = options;
  const warnings: string[] = [];
  if (!isOpenMode(options)) {
    if (audience === undefined)
      warnings.push(
        "tokens are taken whatever audience they are for, those for other services of the same issuer too: set --audience",
      );
    if (maxTokenAgeMs === undefined)
      warnings.push("tokens without an `exp` are taken for ever: set --max-token-age, like 24h");
  }
  for (const [flag, path] of [
    ["--auth-secret-file", options.authSecretFile],
    ["--nats-creds", options.natsCreds],
    ["--nats-tls-key", options.natsTlsKey],
  ] as const)
    warnings.push(...fileWarnings(flag, path));
  const keys = modeOf(options.jwks);
  if (keys !== undefined && (keys & 0o002) !== 0)
    warnings.push(
      `--jwks: others on this machine can change ${options.jwks}, and so make tokens: chmod o-w ${options.jwks}`,
    );
  return warnings;
}

/** Whether others than its owner and group may read or change the file that `flag` names. */
export function fileWarnings(flag: string, path: string | undefined): string[] {
  const mode = modeOf(path);
  if (mode === undefined || (mode & 0o006) === 0) return [];
  return [
    `${flag}: others on this machine can read or change ${path}, which holds a secret: chmod o-rwx ${path}`,
  ];
}

/** Undefined when it is no file. */
function modeOf(path: string | undefined): number | undefined {
  const stats = path === undefined ? undefined : statSync(path, { throwIfNoEntry: false });
  return stats?.isFile() === true ? stats.mode : undefined;
}

/** Who a URL of NATS says to be, with a password or token. */
const credentials = /(?<=^[a-z]+:\/\/)[^/@]+(?=@)/i;

/** Whether a URL of NATS brings a password along. */
export function holdsPassword(url: string): boolean {
  return credentials.test(url);
}

/** The URL as it may be printed. */
export function withoutPassword(url: string): string {
  return url.replace(credentials, "…");
}
