/* The client of 0.1.0 is used by what the present one has, too. */

export * from "../../clients/node/index.ts";
