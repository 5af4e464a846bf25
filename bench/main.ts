/* `npm run bench -- WORKLOAD`. */

import { runBench } from "./cli.ts";

await runBench(process.argv.slice(2), "npm run bench --");
