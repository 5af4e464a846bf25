/* Health probe: how long a target's health check takes while it is under load.
 *
 *   on a connection that is kept     what starves the event loop shows here
 *   on a new one for each check      so does a queue of connections that wait to be accepted: it goes by turns
 *   the same, on another port        nobody is ahead there
 *
 * In a process of its own: the harness looks through all processes and joins histograms while it samples, and an answer
 * that came meanwhile would seem late. */

import { Child } from "../children.ts";
import type { Run } from "../run.ts";
import type { HealthHandlers } from "./health-process.ts";

export class HealthProbe {
  readonly #process: Child<HealthHandlers>;

  private constructor(process: Child<HealthHandlers>) {
    this.#process = process;
  }

  /** Settles once it has been answered on the connection that it keeps: what comes later is the load's. Ends with the run. */
  static async begin(run: Pick<Run, "own">, url: string, operatorUrl?: string): Promise<HealthProbe> {
    const child = new Child<HealthHandlers>("workloads/health-process");
    run.own(child);
    await child.ask("begin", { url, operatorUrl });
    return new HealthProbe(child);
  }

  /** Sentences for the row's notes; none when it was never answered. */
  async end(): Promise<string[]> {
    const notes = await this.#process.ask("end", undefined);
    await this.#process.end();
    return notes;
  }
}
