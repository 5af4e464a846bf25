/* Reports: what `whalesong cluster status` tells, looked at until it is what a test waits for. */

import { connect } from "nats";
import type { Test } from "tap";

import { type ClusterReport, reportCluster } from "../../broker/cluster/report.ts";

/** Settles with the first report of the cluster on these servers that is so. */
export type UntilReport = (isSo: (report: ClusterReport) => boolean) => Promise<ClusterReport>;

export async function reportsOf(t: Test, { urls }: { urls: string }): Promise<UntilReport> {
  const connection = await connect({ servers: urls });
  t.teardown(() => connection.close());
  return async (isSo) => {
    for (;;) {
      const report = await reportCluster(connection, "whalesong");
      if (isSo(report)) return report;
    }
  };
}
