/* Figure: one measured number, its target, and who was busy while it was measured. */

import { type Spent, cpuShare } from "./measure.ts";

export interface Target {
  /** `least`: as much or more is reached; `most`: as much or less. */
  kind: "least" | "most";
  value: number;
}

export interface Figure {
  /** The part of the workload it belongs to, as `--only` names it. */
  part: string;
  name: string;
  value: number;
  unit: string;
  better: "more" | "less";
  /** How long it was measured. */
  seconds: number;
  /** Absent where nothing is promised. */
  target?: Target;
  /** Whether the target is reached; absent without one. */
  reached?: boolean;
  /** The busiest load process's CPU time as a part of the time that passed; 1 is a core, used all the time. */
  loadCpu: number;
  /** The broker's, over all its threads. */
  brokerCpu: number;
  /** The load had next to nothing left of its core: a better load might have measured a better broker. */
  loadLimited: boolean;
  loadProcesses: number;
  /** What else was measured with it. */
  note: string;
}

/** A load process that has this share of a core is taken to be what limited. */
const limitingShare = 0.9;

export interface Measurement extends Pick<Figure, "part" | "name" | "value" | "unit"> {
  /** @default what the bound says; "less" without one */
  better?: Figure["better"];
  atLeast?: number;
  atMost?: number;
  /** What each load process spent. */
  loads: readonly Spent[];
  broker: Spent;
  note?: string;
}

/** Judges a measurement. @throws when it is no finite number */
export function figureOf(measurement: Measurement): Figure {
  const { part, name, value, unit, atLeast, atMost, loads, broker, note = "" } = measurement;
  const { better = atLeast === undefined ? "less" : "more" } = measurement;
  if (!Number.isFinite(value)) throw new Error(`${name}: measured ${value}`);
  const loadCpu = Math.max(...loads.map(cpuShare));
  const figure: Figure = {
    part,
    name,
    value,
    unit,
    better,
    seconds: Math.max(...loads.map(({ seconds }) => seconds)),
    loadCpu,
    brokerCpu: cpuShare(broker),
    loadLimited: loadCpu >= limitingShare,
    loadProcesses: loads.length,
    note,
  };
  if (atLeast !== undefined) {
    figure.target = { kind: "least", value: atLeast };
    figure.reached = value >= atLeast;
  } else if (atMost !== undefined) {
    figure.target = { kind: "most", value: atMost };
    figure.reached = value <= atMost;
  }
  return figure;
}
