/* Names: what a cluster is called in NATS. Several clusters can share a NATS by prefixes of their own. */

export interface ClusterNames {
  /** The JetStream stream that is the log. */
  readonly stream: string;
  /** Its subject: each message is a batch of commands. */
  readonly log: string;
  /** Cursors go from node to node here. */
  readonly cursors: string;
  /** Nodes answer here how they are. */
  readonly status: string;
  /** The key-value bucket of the keeper's lease. */
  readonly lease: string;
  /** The object store of snapshots. */
  readonly snapshots: string;
}

export function clusterNames(prefix: string): ClusterNames {
  return {
    stream: prefix.toUpperCase(),
    log: `${prefix}.log`,
    cursors: `${prefix}.cursors`,
    status: `${prefix}.status`,
    lease: `${prefix}_lease`,
    snapshots: `${prefix}_snapshots`,
  };
}
