/* Upgrades: which requests to change the protocol are heard.
 *
 * Clients offer protocols of their own accord: Java's HTTP client asks each server for `h2c`. Only WebSockets are served
 * by an upgrade; another offer is passed over, as RFC 9110 (section 7.8) has it, and the request is answered as if the
 * offer were not there. Node.js looks at a request's `upgrade` once its headers are read: where it is false the request
 * stays with the parser, its body and the requests behind it.
 *
 * One thing is Node's: what a client sends in the same packet behind such a request is lost. No client known does that,
 * since it does not know yet in which protocol the answer comes. */

import { IncomingMessage } from "node:http";

/** A request that leaves HTTP only for a WebSocket. CONNECT keeps its own way, which ends the connection. */
export class HttpRequest extends IncomingMessage {
  /** What the parser says. No private field: the base class's constructor sets it before there are any. */
  offersUpgrade = false;

  get upgrade(): boolean {
    return this.offersUpgrade && (this.method === "CONNECT" || isWebSocket(this.headers.upgrade));
  }

  set upgrade(offers: boolean | null) {
    this.offersUpgrade = offers === true;
  }
}

function isWebSocket(protocol: string | undefined): boolean {
  return protocol?.trim().toLowerCase() === "websocket";
}
