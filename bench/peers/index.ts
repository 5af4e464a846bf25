/* Peers: what we are compared with, in the order of the table. */

import { mosquitto } from "./mosquitto.ts";
import { nats } from "./nats.ts";
import { nchan } from "./nchan.ts";
import type { Peer } from "./peer.ts";
import { redis } from "./redis.ts";
import { socketIo } from "./socket-io.ts";
import { wsLoop } from "./ws-loop.ts";

export const peers: readonly Peer[] = [redis, nchan, wsLoop, nats, mosquitto, socketIo];
