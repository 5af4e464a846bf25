/* What users of the SDK may write, and what the compiler must refuse. Never run: test/clients/types.test.ts compiles it. */

import type {
  Client,
  Post,
  PostEvent,
  ResultOf,
  StreamEvent,
  WhalesongError,
} from "../../../clients/node/index.ts";
import { connect } from "../../../clients/node/index.ts";

type Equal<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
declare function same<A, B>(verdict: Equal<A, B>): void;

export async function streams(me: Client): Promise<void> {
  for await (const event of me.stream("home", { from: "earliest", filter: { replies: "none" } })) {
    same<typeof event, StreamEvent>(true);
    same<typeof event.event, "post" | "repost" | "delete" | "live" | "cursor">(true);
    // @ts-expect-error only some events have a post
    void event.post;
    switch (event.event) {
      case "post":
        same<typeof event, PostEvent>(true);
        same<typeof event.post, Post>(true);
        same<typeof event.post.mentions, string[]>(true);
        // @ts-expect-error a post has no such field
        void event.post.likes;
        break;
      case "repost":
        same<typeof event.by, string>(true);
        void event.post.text;
        break;
      case "delete":
        same<typeof event.id, string>(true);
        // @ts-expect-error what is deleted is gone
        void event.post;
        break;
      case "live":
      case "cursor":
        same<typeof event.cursor, string>(true);
        break;
      default:
        same<typeof event, never>(true);
    }
  }
  // @ts-expect-error there is no such event
  for await (const event of me.stream("home")) if (event.event === "poke") break;
  // @ts-expect-error a filter the protocol does not know
  me.stream("home", { filter: { replies: "some" } });
  // @ts-expect-error auto or manual
  me.stream("home", { ack: "never" });
}

export async function requests(me: Client): Promise<void> {
  same<Awaited<ReturnType<typeof me.post>>, { id: string; cursor: string }>(true);
  same<Awaited<ReturnType<typeof me.get>>, Post>(true);
  const page = await me.read("home", { limit: 5 });
  for (const item of page.items) same<typeof item.event, "post" | "repost" | "delete">(true);
  const state = await me.request("follow", { user: "bob" });
  same<typeof state, ResultOf<"follow">>(true);
  same<typeof state.state, "following" | "requested" | "none">(true);
  // @ts-expect-error follow needs a user
  void me.request("follow", {});
  // @ts-expect-error there is no such operation
  void me.request("frobnicate", {});
  // @ts-expect-error streams have a method of their own
  void me.request("subscribe", { stream: "home" });
  // @ts-expect-error a text is a string
  void me.post(5);
  // @ts-expect-error a field the operation does not have
  void me.post("hi", { colour: "blue" });
}

export async function session(): Promise<void> {
  const stop = new AbortController();
  await using me = await connect(["ws://a", "wss://b"], {
    user: "alice",
    getToken: () => "token",
    codec: "json",
    signal: stop.signal,
    reconnect: { initialMs: 5 },
  });
  const remove = me.on("disconnect", ({ error, retryInMs, nextUrl }) => {
    same<typeof nextUrl, typeof me.url>(true);
    same<typeof error, Error>(true);
    same<typeof retryInMs, number>(true);
  });
  remove();
  me.on("connect", ({ epoch }) => same<typeof epoch, string>(true));
  // @ts-expect-error there is no such event
  me.on("reconnect", () => undefined);
  // @ts-expect-error json or msgpack
  void connect("ws://a", { codec: "xml" });
  same<typeof me.limits.frameBytes, number>(true);
  // @ts-expect-error it is read-only
  me.user = "bob";
}

export function errors(error: WhalesongError): void {
  if (error.code === "rate_limited") same<typeof error.details.retryAfterMs, number | undefined>(true);
  // @ts-expect-error there is no such code
  if (error.code === "teapot") error.toBody();
}
