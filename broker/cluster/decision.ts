/* Decision: what a node that starts does with its data folder, by what is in it and what is in NATS.
 *
 *   folder            no log        a log
 *   empty             found         load the newest snapshot that the log goes on from; wait while there is none
 *   of a lone broker  refuse        refuse
 *   of this log       refuse        enter; load a snapshot when the log no longer goes on from where it is
 *   of another log    refuse        refuse
 *
 * Nothing that was answered is given up here without an operator's word: whatever would do that is refused, with the mend. */

import type { ClusterMark } from "../state/index.ts";
import type { Snapshot } from "./snapshots.ts";
import type { StreamLook } from "./stream.ts";

/** What a data folder holds. */
export type Holding =
  | { kind: "nothing" }
  | { kind: "lone" }
  | { kind: "member"; mark: ClusterMark; epoch: string; offset: number };

export interface Situation {
  data: string;
  /** The stream's name. */
  stream: string;
  holding: Holding;
  /** Undefined when there is no log. */
  log: StreamLook | undefined;
  /** When the message was stored that a member has applied last; undefined when it is not kept. */
  storedAt: number | undefined;
  /** Those of this log that this broker can read and that are of its present history, the newest first. */
  snapshots: readonly Snapshot[];
}

export type Decision =
  | { do: "enter" }
  | { do: "load"; snapshots: readonly Snapshot[] }
  /** Nobody has begun the log, or whoever did was interrupted. One node at a time. */
  | { do: "found" }
  | { do: "wait"; for: string }
  /** `mayPass`: NATS tells this, too, for some seconds while it chooses a leader. */
  | { do: "refuse"; why: string; mayPass?: true };

export function decide(situation: Situation): Decision {
  const { holding } = situation;
  switch (holding.kind) {
    case "nothing":
      return decideEmpty(situation);
    case "lone":
      return decideLone(situation);
    case "member":
      return decideMember(situation, holding);
  }
}

function decideEmpty({ log, snapshots }: Situation): Decision {
  if (log === undefined || isUnbegun(log, snapshots)) return { do: "found" };
  return loadOrWait(log, snapshots);
}

function decideLone({ data, log, stream, snapshots }: Situation): Decision {
  const why =
    log === undefined || isUnbegun(log, snapshots)
      ? `data folder ${data}: it holds the data of a broker that stood alone, and there is no cluster yet (stream ${stream}). ` +
        `To begin the cluster with this data: whalesong cluster init --data ${data} --nats …; ` +
        `to begin with none, choose an empty folder with --data`
      : `data folder ${data}: it holds the data of a broker that stood alone, and the cluster (stream ${stream}) has a history of ` +
        `its own; choose an empty folder with --data, and this node loads what the cluster has`;
  return { do: "refuse", why };
}

function decideMember(
  { data, stream, log, storedAt, snapshots }: Situation,
  { mark, epoch, offset }: Extract<Holding, { kind: "member" }>,
): Decision {
  const again =
    `To go on with what NATS has, choose an empty folder with --data; ` +
    `to begin the cluster anew with what this folder has: whalesong cluster init --replace --data ${data} --nats …`;
  if (log === undefined) {
    const why =
      `data folder ${data}: it is a node's of a cluster whose log (stream ${stream}) is not in NATS. ` +
      `If NATS lost it, restore it, or begin the cluster anew with what this folder has: ` +
      `whalesong cluster init --data ${data} --nats …`;
    return { do: "refuse", why, mayPass: true };
  }
  if (log.created !== mark.created) {
    const why =
      `data folder ${data}: it has applied the log that was created at ${mark.created}; the cluster's (stream ${stream}) ` +
      `was created at ${log.created}, which is another history. ${again}`;
    return { do: "refuse", why };
  }
  if (log.lastSeq < mark.seq) {
    const why =
      `data folder ${data}: it has applied ${mark.seq} batches and the cluster's log (stream ${stream}) ends at ${log.lastSeq}: ` +
      `NATS lost the end of it, or was restored from an older copy. ${again}`;
    return { do: "refuse", why, mayPass: true };
  }
  if (mark.seq > 0 && storedAt !== undefined && storedAt !== mark.time) {
    const why =
      `data folder ${data}: batch ${mark.seq} of the cluster's log (stream ${stream}) is another than this folder has applied: ` +
      `NATS was restored from an older copy and has gone on from there. ${again}`;
    return { do: "refuse", why };
  }
  if (mark.seq === 0) return decideBeginner({ data, stream, log, snapshots }, { epoch, offset });
  return reaches(log, mark.seq) ? { do: "enter" } : loadOrWait(log, snapshots);
}

/** A member that has applied nothing of the log: it may have begun it, or been interrupted while it did. */
function decideBeginner(
  { data, stream, log, snapshots }: Pick<Situation, "data" | "stream" | "snapshots"> & { log: StreamLook },
  { epoch, offset }: { epoch: string; offset: number },
): Decision {
  if (isUnbegun(log, snapshots)) return { do: "found" };
  const [newest] = snapshots;
  if (newest === undefined || newest.epoch === epoch) {
    return reaches(log, 0) ? { do: "enter" } : loadOrWait(log, snapshots);
  }
  if (offset === 0) return loadOrWait(log, snapshots);
  const why =
    `data folder ${data}: its data were to begin the cluster (stream ${stream}), and another node began it with others; ` +
    `choose an empty folder with --data, or begin anew: whalesong cluster init --replace --data ${data} --nats …`;
  return { do: "refuse", why };
}

function loadOrWait(log: StreamLook, snapshots: readonly Snapshot[]): Decision {
  const usable = snapshots.filter(({ seq }) => seq <= log.lastSeq && reaches(log, seq));
  if (usable.length > 0) return { do: "load", snapshots: usable };
  const what = snapshots.length === 0 ? "there is no snapshot" : "the log does not go back to any snapshot";
  return {
    do: "wait",
    for: `${what} that this node can begin from; a node that has the data makes one as soon as it runs`,
  };
}

/** Nothing was ever appended, and there is nothing to begin from. */
function isUnbegun(log: StreamLook, snapshots: readonly Snapshot[]): boolean {
  return log.lastSeq === 0 && snapshots.length === 0;
}

/** Whether the log goes on from `seq`. */
export function reaches({ firstSeq }: StreamLook, seq: number): boolean {
  return firstSeq <= seq + 1;
}
