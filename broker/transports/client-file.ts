/* ClientFile: the browser client as one file, for pages that import it from the broker itself.
 *
 * Read when first asked for and again whenever the file has changed, so that a build beside a running broker is seen. */

import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";

export interface ClientFileContent {
  body: Buffer;
  /** A strong validator: a hash of the body, in quotes. */
  etag: string;
}

export class ClientFile {
  readonly #path: string;
  #content: ClientFileContent | undefined;
  #version = "";

  constructor(path: string) {
    this.#path = path;
  }

  /** Undefined when it has not been built. */
  async read(): Promise<ClientFileContent | undefined> {
    try {
      const { mtimeMs, size } = await stat(this.#path);
      const version = `${mtimeMs} ${size}`;
      if (this.#content === undefined || version !== this.#version) {
        const body = await readFile(this.#path);
        this.#content = { body, etag: `"${createHash("sha256").update(body).digest("base64url")}"` };
        this.#version = version;
      }
      return this.#content;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }
}
