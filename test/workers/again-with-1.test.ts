/* What a broker promises, once more with one worker process. */

import tap from "tap";
import { budget } from "../pace.ts";

tap.setTimeout(budget(400_000));
process.env["WHALESONG_TEST_WORKERS"] = "1";
process.env["WHALESONG_ROUNDS"] ??= "20";
process.env["WHALESONG_KILLS"] ??= "3";

await import("../sessions/session-cursor.test.ts");
await import("../sessions/session-nobody.test.ts");
await import("../sessions/session-dropped.test.ts");
await import("../model/model.test.ts");
await import("../transports/http.test.ts");
await import("../crash/kill.test.ts");
