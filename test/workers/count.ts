/* How many worker processes the brokers of a test have: WHALESONG_TEST_WORKERS, 0 unless it is given.
 *
 * What a broker promises does not depend on it, so the same tests run with any number: again-with-*.test.ts do, for those
 * that decide. */

export const workers = Number(process.env["WHALESONG_TEST_WORKERS"] ?? 0);
