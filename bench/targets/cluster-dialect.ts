/* How several nodes of one cluster are spoken to: each connection as to a Whalesong broker, readers and publishers in turn at the
 * nodes that are theirs. */

import type { Dialect, DialectRef } from "../load/dialect.ts";
import { type WhalesongDialectOptions, createDialect as createOne } from "./whalesong-dialect.ts";

export interface ClusterDialectOptions extends Omit<WhalesongDialectOptions, "url"> {
  /** Of all nodes. */
  urls: readonly string[];
  /** The nodes that have readers, by their place in `urls`, and those that have publishers. */
  readersAt: readonly number[];
  publishersAt: readonly number[];
}

export function createDialect({ urls, readersAt, publishersAt, ...options }: ClusterDialectOptions): Dialect {
  const nodes = urls.map((url) => createOne({ ...options, url }));
  const at = (places: readonly number[], number: number): Dialect => nodes[places[number % places.length]!]!;
  const first = at(publishersAt, 0);
  return {
    address: first.address,
    reader: (request) => {
      const node = at(readersAt, request.reader);
      return { ...node.reader(request), address: node.address };
    },
    publisher: (connection) => {
      const node = at(publishersAt, connection);
      return { ...node.publisher(connection), address: node.address };
    },
    follow: (follow) => first.follow!(follow),
  };
}

/** How load processes are told of this dialect. */
export function clusterDialect(options: ClusterDialectOptions): DialectRef {
  const { deflate = false } = options;
  return { module: "targets/cluster-dialect", options, texts: deflate ? "prose" : "words" };
}
