/* A bot that answers whoever mentions it, also those who did while it was away.
 *
 *     npx tsx clients/examples/reply-bot.ts [ws://127.0.0.1:5252]
 *     (then, as someone else, post "hello @echo")
 *
 * Stops on Ctrl-C. The key makes the answer to a mention one post, even if the bot falls over between answering and
 * acknowledging and meets the same mention again. */

import { connect } from "whalesong/client";

const url = process.argv[2] ?? "ws://127.0.0.1:5252";
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
process.once("SIGTERM", () => stop.abort());

await using bot = await connect(url, { user: "echo", device: "bot", signal: stop.signal });
bot.on("disconnect", ({ error, retryInMs }) => console.log(`${error.message}; again in ${retryInMs} ms`));
bot.on("connect", () => console.log("connected again"));

const mentions = bot.stream("mentions");
await mentions.opened;
console.log("listening to mentions of @echo");
for await (const event of mentions) {
  if (event.event !== "post") continue;
  const { id, author, text } = event.post;
  await bot.post(`@${author} you said: ${text.replaceAll("@echo", "").trim()}`, {
    replyTo: id,
    mentions: [author],
    key: `reply-${id}`,
  });
  console.log(`answered ${author}`);
}
