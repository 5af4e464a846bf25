/* Store file: whether LMDB's file can be one, before LMDB maps it into memory.
 *
 * LMDB trusts its file: given one of another kind or cut short it ends the process with a signal, not with an error. Its
 * first two pages each hold the roots of one of the last two transactions; little-endian, from the page's 24th byte:
 *
 *     magic u32 | version u32 | address u64 | map size u64 | free table 48 bytes | main table 48 bytes
 *       | last page u64 | transaction u64
 *
 * The free table begins with the page size, u32; each table ends with the page of its root, u64, all ones when empty.
 * The roots must lie within the file. The last page need not: one that was taken and given back is never written. */

import { open, stat } from "node:fs/promises";
import { join } from "node:path";

import { FolderError, storeFile } from "./folder.ts";

const magic = 0xbeefc0de;
const metaStart = 24;
const pageSizeAt = metaStart + 24;
const freeRootAt = metaStart + 64;
const mainRootAt = metaStart + 112;
const transactionAt = metaStart + 128;
const metaEnd = metaStart + 136;
const leastPageSize = 256;
const greatestPageSize = 65_536;
const noPage = 0xffff_ffff_ffff_ffffn;

/** Whether the folder `path` holds a store. @throws FolderError when its file is no LMDB file, or is cut short. */
export async function checkStoreFile(path: string): Promise<boolean> {
  const name = join(path, storeFile);
  const isThere = await stat(name).then(
    ({ size }) => size > 0,
    () => false,
  );
  if (!isThere) return false;
  const file = await open(name);
  try {
    const first = await readMetaPage(file, 0);
    const pageSize = first?.pageSize ?? 0;
    if (first === undefined || pageSize < leastPageSize || pageSize > greatestPageSize) {
      throw new FolderError(
        `data file ${name}: not an LMDB file; restore a backup, or choose another folder with --data`,
      );
    }
    const second = await readMetaPage(file, pageSize);
    const newest = second !== undefined && second.transaction > first.transaction ? second : first;
    // After the roots: a broker that is running adds pages, and then the roots that lie in them.
    const { size: bytes } = await file.stat();
    const pages = BigInt(Math.floor(bytes / pageSize));
    if (second === undefined || newest.roots.some((root) => root !== noPage && root >= pages)) {
      throw new FolderError(
        `data file ${name}: cut short at ${bytes} bytes; restore a backup, or choose another folder with --data`,
      );
    }
    return true;
  } finally {
    await file.close();
  }
}

async function readMetaPage(file: Awaited<ReturnType<typeof open>>, position: number) {
  const page = Buffer.alloc(metaEnd);
  const { bytesRead } = await file.read(page, 0, metaEnd, position);
  if (bytesRead < metaEnd || page.readUInt32LE(metaStart) !== magic) return undefined;
  return {
    pageSize: page.readUInt32LE(pageSizeAt),
    roots: [page.readBigUInt64LE(freeRootAt), page.readBigUInt64LE(mainRootAt)],
    transaction: page.readBigUInt64LE(transactionAt),
  };
}
