/* UserPages: whom a user follows, or who follows them, a page at a time. Read in steps (readings.ts): who is on the page, and what they
 * are called, is as of the step that came to them. */

import type { State, UserNo } from "../state/index.ts";
import type { Steps, Work } from "./readings.ts";

/** Users taken at a time. */
const usersAtOnce = 128;
/** How many of their numbers cost what a look-up does; each handle costs one. */
const numbersPerLookup = 4;

export interface UserPage {
  /** Handles, by ascending number of their users. */
  users: string[];
  /** The number after which there are more; undefined at the end. */
  next: UserNo | undefined;
}

export interface UserPageRequest {
  of: "following" | "followers";
  user: UserNo;
  after: UserNo;
  most: number;
}

export function* readUsers(state: State, request: UserPageRequest, work: Work): Steps<UserPage> {
  const { of, user, most } = request;
  const users: string[] = [];
  let { after } = request;
  for (;;) {
    const wanted = Math.min(usersAtOnce, most - users.length);
    const numbers = state.follows[of](user, after, wanted + 1);
    const isMore = numbers.length > wanted;
    for (const number of numbers.slice(0, wanted)) users.push(state.users.handle((after = number)));
    work.take(wanted + Math.ceil(wanted / numbersPerLookup));
    if (!isMore) return { users, next: undefined };
    if (users.length === most) return { users, next: after };
    if (work.isOver) yield;
  }
}
