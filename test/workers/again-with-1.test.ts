/* What a broker promises, once more with one worker process. */

process.env["WHALESONG_TEST_WORKERS"] = "1";
process.env["WHALESONG_ROUNDS"] ??= "30";
process.env["WHALESONG_KILLS"] ??= "4";

await import("../sessions/session-cursor.test.ts");
await import("../model/model.test.ts");
await import("../transports/http.test.ts");
await import("../crash/kill.test.ts");

export {};
