/* Texts: posts as people write them, in length and kind: 100 to 200 characters, one in ten with a mention, one in ten with
 * a tag. Made beforehand, so that a load does nothing but send. */

import { seededRandom } from "../../clients/cli/replay/random.ts";

const textCount = 1_009; // a prime, so that texts and authors go round at different paces
const words =
  "whales sing to each other over a thousand miles of dark water and nobody on the surface hears more than the wind and the rain".split(
    " ",
  );

export function makeTexts({ authors, seed }: { authors: number; seed: number }): string[] {
  const random = seededRandom(seed);
  const below = (count: number): number => Math.floor(random() * count);
  return Array.from({ length: textCount }, (_, i) => {
    let text =
      i % 10 === 3 ? `@a${below(authors)}` : i % 10 === 7 ? `#t${below(100)}` : words[below(words.length)]!;
    const chars = 100 + below(101);
    while (text.length < chars) text += ` ${words[below(words.length)]}`;
    return text.slice(0, chars);
  });
}
