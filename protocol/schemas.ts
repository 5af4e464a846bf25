/* Schemas: the shape of every request, answer and event.
 *
 * One definition gives the TypeScript type, the check that both transports run, and OpenAPI. Times are milliseconds
 * since the Unix epoch; ids and cursors are opaque strings. Maps refuse fields they do not know. */

import { type Static, type TNumber, type TOptional, type TProperties, type TSchema, Type } from "typebox";

import { limits, rateNames } from "./limits.ts";

const closed = { additionalProperties: false };

export const Handle = Type.String({
  minLength: 1,
  maxLength: limits.handleChars * 2,
  description: "A user's handle: 1–64 letters of any script, digits, `_ . -`; compared without case.",
});
export const PostId = Type.String({ minLength: 1, maxLength: 64, description: "A post's id, opaque." });
export const Cursor = Type.String({
  minLength: 1,
  maxLength: 64,
  description: "A position in the broker's history, opaque and exclusive: delivery resumes after it.",
});
export const StreamText = Type.String({
  minLength: 1,
  maxLength: 256,
  description: "`home`, `mentions`, `user:HANDLE`, `tag:TAG`, `thread:POST` or `firehose`.",
});
const Device = Type.String({
  minLength: 1,
  maxLength: limits.deviceChars,
  description: "The client's own name for itself; durable cursors are kept for each (user, device, stream).",
});
const Time = Type.Integer({ minimum: 0, description: "Milliseconds since the Unix epoch." });
const As = Type.Optional(
  Type.String({
    minLength: 1,
    maxLength: limits.handleChars * 2,
    description: "Act as this user; needs the scope `backend`.",
  }),
);

/** What narrows a stream; a filter that does not concern the stream is refused. */
export const Filter = Type.Object(
  {
    replies: Type.Optional(
      Type.Union([Type.Literal("all"), Type.Literal("followed"), Type.Literal("none")], {
        description:
          "`home`: replies of all I follow, only those in conversations I follow (default), or none.",
      }),
    ),
    from: Type.Optional(
      Type.Union(
        [
          Type.Literal("everyone"),
          Type.Literal("following"),
          Type.Literal("followers"),
          Type.Literal("mutuals"),
          Type.Literal("strangers"),
        ],
        { description: "`mentions`: by whom; `everyone` by default." },
      ),
    ),
  },
  closed,
);

export const Post = Type.Object({
  id: PostId,
  author: Handle,
  text: Type.String(),
  mentions: Type.Array(Handle),
  tags: Type.Array(Type.String()),
  at: Time,
  replyTo: Type.Optional(PostId),
  thread: Type.Optional(
    Type.String({ description: "The id of the conversation's first post; with `replyTo`." }),
  ),
  data: Type.Optional(Type.Unknown({ description: "Whatever the author attached: any JSON value." })),
});

const Relation = Type.Union(
  [Type.Literal("following"), Type.Literal("follower"), Type.Literal("mutual"), Type.Literal("stranger")],
  { description: "What the author is to the reader: `following` when the reader follows the author." },
);

/** Events of a stream: pushed with `sub`, read in pages without. */
export const PostEvent = Type.Object({
  event: Type.Literal("post"),
  cursor: Cursor,
  post: Post,
  relation: Type.Optional(Relation),
});
export const RepostEvent = Type.Object({
  event: Type.Literal("repost"),
  cursor: Cursor,
  id: PostId,
  by: Handle,
  at: Time,
  post: Post,
});
export const DeleteEvent = Type.Object({ event: Type.Literal("delete"), cursor: Cursor, id: PostId });
export const CursorEvent = Type.Object({ event: Type.Literal("cursor"), cursor: Cursor });
export const LiveEvent = Type.Object({ event: Type.Literal("live"), cursor: Cursor });
export const GoodbyeEvent = Type.Object({
  event: Type.Literal("goodbye"),
  reason: Type.String(),
  reconnectMs: Type.Integer({ minimum: 0, description: "Come back after so many milliseconds." }),
});
/** The end of one subscription, by the broker's doing: entries it needs are gone. The session goes on. */
export const EndEvent = Type.Object({
  event: Type.Literal("end"),
  error: Type.Object({ code: Type.String(), message: Type.String() }, { additionalProperties: true }),
});
export const StreamItem = Type.Union([PostEvent, RepostEvent, DeleteEvent]);

const page = {
  before: Type.Optional(Cursor),
  after: Type.Optional(Cursor),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.pageItems })),
};
const userPage = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.pageUsers })),
  after: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
};

/** The fields of each operation, without `id` and `op`. */
export const requestFields = {
  hello: {
    user: Type.Optional(Handle),
    token: Type.Optional(Type.String({ maxLength: 16_384 })),
    device: Type.Optional(Device),
    as: As,
    client: Type.Optional(
      Type.String({ maxLength: 128, description: "Name and version of the client, for the log." }),
    ),
  },
  auth: { token: Type.String({ maxLength: 16_384 }) },
  ping: {},
  post: {
    as: As,
    text: Type.String({ description: "Up to 16,384 bytes of UTF-8." }),
    data: Type.Optional(Type.Unknown({ description: "Any JSON value, up to 16,384 bytes and 32 levels." })),
    replyTo: Type.Optional(PostId),
    mentions: Type.Optional(
      Type.Array(Handle, { maxItems: limits.mentions, description: "Instead of what the text mentions." }),
    ),
    tags: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: limits.tagChars * 2 }), {
        maxItems: limits.tags,
        description: "Instead of what the text tags.",
      }),
    ),
    key: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: limits.keyChars,
        description: "Makes a retry safe: the same author and key publish once.",
      }),
    ),
  },
  repost: { as: As, post: PostId },
  delete: { as: As, post: PostId },
  get: { as: As, post: PostId },
  follow: { as: As, user: Handle },
  unfollow: { as: As, user: Handle },
  following: { as: As, user: Type.Optional(Handle), ...userPage },
  followers: { as: As, user: Type.Optional(Handle), ...userPage },
  relationship: { as: As, user: Handle },
  subscribe: {
    as: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: 0x7fffffff }), Handle], {
        description:
          "A number: the subscription's number. A handle: act as this user; needs the scope `backend`.",
      }),
    ),
    sub: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 0x7fffffff, description: "The subscription's number." }),
    ),
    stream: StreamText,
    from: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        description: "`resume` (default), `live`, `earliest` or a cursor.",
      }),
    ),
    filter: Type.Optional(Filter),
  },
  unsubscribe: { sub: Type.Integer({ minimum: 1, maximum: 0x7fffffff }) },
  ack: { sub: Type.Integer({ minimum: 1, maximum: 0x7fffffff }), cursor: Cursor },
  read: { as: As, stream: StreamText, filter: Type.Optional(Filter), ...page },
  cursor: {
    as: As,
    stream: StreamText,
    device: Type.Optional(Device),
    set: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 64,
        description:
          "Move the durable cursor here, back or forth: a cursor, `live` (the head) or `earliest`.",
      }),
    ),
  },
} as const satisfies Record<string, TProperties>;

export type Op = keyof typeof requestFields;
export const ops = Object.keys(requestFields) as Op[];

const id = Type.Optional(
  Type.Integer({
    minimum: 0,
    maximum: Number.MAX_SAFE_INTEGER,
    description: "Comes back in the answer; without it there is none.",
  }),
);

/** Each operation's whole frame, as a closed map. */
export const requestSchemas = Object.fromEntries(
  ops.map((op) => [
    op,
    Type.Object({ id, op: Type.Literal(op), ...(requestFields[op] as TProperties) }, closed),
  ]),
) as unknown as Record<Op, TSchema>;

const Published = Type.Object({ id: PostId, cursor: Cursor });
const FollowState = Type.Object({
  state: Type.Union([Type.Literal("following"), Type.Literal("requested"), Type.Literal("none")]),
});
const Users = Type.Object({
  users: Type.Array(Handle),
  after: Type.Optional(Type.String({ description: "Pass it to get the next page; absent at the end." })),
});
const Limits = Type.Object({
  ...(Object.fromEntries(Object.keys(limits).map((name) => [name, Type.Integer()])) as {
    [K in keyof typeof limits]: ReturnType<typeof Type.Integer>;
  }),
  ...(Object.fromEntries(rateNames.map((name) => [name, Type.Optional(Type.Number())])) as {
    [K in (typeof rateNames)[number]]: TOptional<TNumber>;
  }),
});

/** What each operation answers under `ok`. */
export const resultSchemas = {
  hello: Type.Object({
    user: Handle,
    session: Type.String(),
    node: Type.String(),
    epoch: Type.String(),
    head: Cursor,
    limits: Limits,
    scopes: Type.Array(Type.String()),
    expiresAt: Type.Optional(Time),
    at: Time,
  }),
  auth: Type.Object({ scopes: Type.Array(Type.String()), expiresAt: Type.Optional(Time), at: Time }),
  ping: Type.Object({ at: Time }),
  post: Published,
  repost: Published,
  delete: Type.Object({ id: PostId, cursor: Cursor }),
  get: Type.Object({ post: Post }),
  follow: FollowState,
  unfollow: FollowState,
  following: Users,
  followers: Users,
  relationship: Type.Object({
    user: Handle,
    following: Type.Boolean({ description: "I follow them." }),
    followedBy: Type.Boolean({ description: "They follow me." }),
    mutual: Type.Boolean(),
  }),
  subscribe: Type.Object({ sub: Type.Integer(), stream: Type.String(), cursor: Cursor }),
  unsubscribe: Type.Object({ sub: Type.Integer() }),
  ack: Type.Object({ cursor: Cursor }),
  read: Type.Object({
    items: Type.Array(StreamItem, { description: "In the order of the log, oldest first." }),
    before: Type.Optional(
      Type.String({ description: "Pass it as `before` to go back; absent at the beginning." }),
    ),
    after: Type.Optional(Type.String({ description: "Pass it as `after` to go on." })),
  }),
  cursor: Type.Object({ stream: Type.String(), device: Type.String(), cursor: Type.Optional(Cursor) }),
} as const satisfies Record<Op, TSchema>;

export const ErrorSchema = Type.Object({
  code: Type.String(),
  message: Type.String(),
  retryable: Type.Boolean(),
  field: Type.Optional(Type.String()),
  retryAfterMs: Type.Optional(Type.Integer()),
  floor: Type.Optional(Cursor),
});

type Fields<K extends Op> = Static<ReturnType<typeof Type.Object<(typeof requestFields)[K]>>>;

/** A request as a client sends it: `{ id, op, …fields }`. */
export type RequestOf<K extends Op> = { id?: number; op: K } & Fields<K>;
export type Request = { [K in Op]: RequestOf<K> }[Op];
/** The fields of an operation, without `id` and `op`. */
export type FieldsOf<K extends Op> = Fields<K>;
export type ResultOf<K extends Op> = Static<(typeof resultSchemas)[K]>;

export type Post = Static<typeof Post>;
export type Relation = Static<typeof Relation>;
export type Filter = Static<typeof Filter>;
export type PostEvent = Static<typeof PostEvent>;
export type RepostEvent = Static<typeof RepostEvent>;
export type DeleteEvent = Static<typeof DeleteEvent>;
export type CursorEvent = Static<typeof CursorEvent>;
export type LiveEvent = Static<typeof LiveEvent>;
export type EndEvent = Static<typeof EndEvent>;
export type GoodbyeEvent = Static<typeof GoodbyeEvent>;
/** What a page of `read` holds. */
export type StreamItem = PostEvent | RepostEvent | DeleteEvent;
/** What a subscription pushes. */
export type StreamEvent = StreamItem | CursorEvent | LiveEvent;
