/* Level one: a store as 0.1.0 leaves one, made from one of this version by taking away what 0.1.0 does not know. */

import { open } from "lmdb";
import { pack, unpack } from "msgpackr";

type Row = Buffer;

/** Changes rows of a table of the store in `folder`, which nobody has open. What `change` returns takes a row's place; undefined removes it. */
export async function changeRows(
  folder: string,
  table: string,
  change: (value: Row, key: Row) => Row | undefined,
): Promise<void> {
  const root = open<Row, Row>({ path: folder, noSubdir: false, maxDbs: 64, encoding: "binary" });
  try {
    const rows = root.openDB<Row, Row>(table, { encoding: "binary", keyEncoding: "binary" });
    const found = [...rows.getRange({})].map(
      ({ key, value }) => [Buffer.from(key), Buffer.from(value)] as const,
    );
    for (const [key, value] of found) {
      const changed = change(value, key);
      if (changed === undefined) rows.removeSync(key);
      else rows.putSync(key, changed);
    }
  } finally {
    await root.close();
  }
}

/** Makes the empty store in `folder` one of level 1. */
export async function makeLevelOne(folder: string): Promise<void> {
  await changeRows(folder, "meta", (value, key) => {
    switch (String(key)) {
      case "state": {
        const { level: _, ...meta } = unpack(value) as { level?: number };
        return pack({ ...meta, format: 2 });
      }
      case "migration":
        return undefined;
      default:
        return value;
    }
  });
}
