/* Whalesong, embedded:
 *
 *   import { Broker } from "whalesong";
 *   const broker = await Broker.start({ port: 5252, data: "./data" });
 *   …
 *   await broker.stop();                                                     */

export { Broker } from "./broker.ts";
export { type BrokerOptions, OptionsError, defaults } from "./options.ts";
export { FolderError } from "./state/folder.ts";
