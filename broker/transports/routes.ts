/* Routes: the operations as HTTP methods on paths.
 *
 * The one table that requests are served by and OpenAPI is written from. A route says where in a request the fields of its
 * operation are; their types and limits are the operation's own. */

import { type ErrorCode, type StreamName, requestFields } from "../../protocol/index.ts";
import type { StatelessOp } from "../sessions/index.ts";

export type Method = "GET" | "POST" | "PUT" | "DELETE";
export type PathNames = "user" | "target" | "post" | "stream";
export type Path = Readonly<Record<PathNames, string>>;

export interface Route {
  method: Method;
  /** With names of `Path` in braces. */
  path: string;
  op: StatelessOp;
  /** In a word or two, for code made from OpenAPI: what the op is called there. */
  name: string;
  summary: string;
  description?: string;
  /** Of an answer. @default 200 */
  status?: 201;
  /** `{user}` of the path is who acts: oneself, or another with the scope `backend`. @default false */
  isActor?: true;
  /** The fields that the path gives. */
  fields: (path: Path) => Record<string, unknown>;
  /** Fields taken from the query; those of the filter go by their bare names too: see `shortName`. */
  query: readonly string[];
  /** Fields taken from the body, and those among them that it must have. Without them the body is empty. */
  body?: { fields: readonly string[]; required: readonly string[] };
  /** What it is refused with, besides what any request is refused with. */
  errors: readonly ErrorCode[];
}

const page = ["before", "after", "limit", "filter.replies", "filter.from"] as const;
const userPage = ["limit", "after"] as const;
const readErrors = ["not_found", "cursor_too_old", "epoch_mismatch", "cursor_in_future"] as const;
const writeErrors = ["rate_limited", "storage_full", "unavailable"] as const;

const filterText =
  "`replies` narrows home, `from` mentions; a filter that does not concern the stream is refused.";

const repost = {
  path: "/v1/posts/{post}/repost",
  op: "repost",
  summary: "Repost a post to one's followers",
  fields: ({ post }) => ({ post }),
  query: ["as"],
  errors: ["not_found", ...writeErrors],
} as const satisfies Partial<Route>;

export const routes: readonly Route[] = [
  {
    method: "POST",
    path: "/v1/posts",
    op: "post",
    name: "publish",
    summary: "Publish a post",
    description:
      "It goes live to all who follow its author and all it mentions. With `key`, a retry publishes nothing again and answers as the first did.",
    status: 201,
    fields: () => ({}),
    query: [],
    body: { fields: Object.keys(requestFields.post), required: ["text"] },
    errors: ["not_found", "too_large", ...writeErrors],
  },
  {
    method: "GET",
    path: "/v1/posts/{post}",
    op: "get",
    name: "getPost",
    summary: "Get a post",
    fields: ({ post }) => ({ post }),
    query: ["as"],
    errors: ["not_found"],
  },
  {
    method: "DELETE",
    path: "/v1/posts/{post}",
    op: "delete",
    name: "deletePost",
    summary: "Delete a post or a repost of one's own",
    description: "Whoever may have seen it is told; its text is gone from the store.",
    fields: ({ post }) => ({ post }),
    query: ["as"],
    errors: ["not_found", "rate_limited", "unavailable"],
  },
  { ...repost, method: "POST", name: "repost", status: 201 },
  { ...repost, method: "PUT", name: "putRepost" },
  {
    method: "PUT",
    path: "/v1/users/{user}/follows/{target}",
    op: "follow",
    name: "follow",
    summary: "Follow a user",
    description: "Durable; it takes effect for posts from here on. To follow again changes nothing.",
    isActor: true,
    fields: ({ target }) => ({ user: target }),
    query: [],
    errors: ["conflict", ...writeErrors],
  },
  {
    method: "DELETE",
    path: "/v1/users/{user}/follows/{target}",
    op: "unfollow",
    name: "unfollow",
    summary: "Follow a user no more",
    isActor: true,
    fields: ({ target }) => ({ user: target }),
    query: [],
    errors: [...writeErrors],
  },
  {
    method: "GET",
    path: "/v1/users/{user}/following",
    op: "following",
    name: "following",
    summary: "Whom a user follows",
    fields: ({ user }) => ({ user }),
    query: ["as", ...userPage],
    errors: ["not_found"],
  },
  {
    method: "GET",
    path: "/v1/users/{user}/followers",
    op: "followers",
    name: "followers",
    summary: "Who follows a user",
    fields: ({ user }) => ({ user }),
    query: ["as", ...userPage],
    errors: ["not_found"],
  },
  {
    method: "GET",
    path: "/v1/users/{user}/relationship/{target}",
    op: "relationship",
    name: "relationship",
    summary: "What two users are to each other",
    isActor: true,
    fields: ({ target }) => ({ user: target }),
    query: [],
    errors: ["not_found"],
  },
  {
    method: "GET",
    path: "/v1/users/{user}/home",
    op: "read",
    name: "readHome",
    summary: "A page of a user's home: posts of those they follow, and their own",
    description: filterText,
    isActor: true,
    fields: () => ({ stream: "home" satisfies StreamName["kind"] }),
    query: page,
    errors: readErrors,
  },
  {
    method: "GET",
    path: "/v1/users/{user}/mentions",
    op: "read",
    name: "readMentions",
    summary: "A page of the posts that mention a user",
    description: filterText,
    isActor: true,
    fields: () => ({ stream: "mentions" satisfies StreamName["kind"] }),
    query: page,
    errors: readErrors,
  },
  {
    method: "GET",
    path: "/v1/users/{user}/posts",
    op: "read",
    name: "readPosts",
    summary: "A page of a user's posts",
    fields: ({ user }) => ({ stream: `user:${user}` }),
    query: ["as", "before", "after", "limit"],
    errors: readErrors,
  },
  {
    method: "GET",
    path: "/v1/streams/{stream}",
    op: "read",
    name: "readStream",
    summary: "A page of any stream",
    description: `The stream's name as one part of the path, like \`tag%3Anode\`. ${filterText}`,
    fields: ({ stream }) => ({ stream }),
    query: ["as", ...page],
    errors: readErrors,
  },
  {
    method: "GET",
    path: "/v1/users/{user}/cursors/{stream}",
    op: "cursor",
    name: "getCursor",
    summary: "A device's durable cursor in a stream",
    description: "No `cursor` in the answer means that the device has never read the stream.",
    isActor: true,
    fields: ({ stream }) => ({ stream }),
    query: ["device"],
    errors: ["not_found"],
  },
  {
    method: "PUT",
    path: "/v1/users/{user}/cursors/{stream}",
    op: "cursor",
    name: "setCursor",
    summary: "Move a device's durable cursor, back or forth",
    description: "What a reader of `/v1/stream` does for an acknowledgement.",
    isActor: true,
    fields: ({ stream }) => ({ stream }),
    query: ["device"],
    body: { fields: ["set"], required: ["set"] },
    errors: readErrors,
  },
];

/** What `GET /v1/stream` takes from its query, besides credentials; its `from` is where to start. */
export const streamQuery = [
  "stream",
  "from",
  "filter.replies",
  "filter.from",
  "device",
  "as",
  "lastEventId",
] as const;
/** Who asks, where headers cannot be sent. */
export const credentialQuery = ["user", "token"] as const;

const filterPrefix = "filter.";

/** What a parameter is called for short: a field of the filter needs no prefix where no other parameter has its name. */
export function shortName(name: string, names: readonly string[]): string {
  const bare = name.startsWith(filterPrefix) ? name.slice(filterPrefix.length) : name;
  return names.includes(bare) ? name : bare;
}
