/** What an operator asked of a cluster cannot be done; the message says why, and what to do. */
export class ClusterError extends Error {
  override readonly name = "ClusterError";
}
