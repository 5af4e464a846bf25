/* Markup: HTML by template, safe by default.
 *
 * What is put into html`…` is text and is escaped, unless it is Html itself. Arrays are joined. */

export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Part = Html | string | number | readonly Html[];

export function html(texts: TemplateStringsArray, ...parts: Part[]): Html {
  return new Html(texts.reduce((whole, text, i) => whole + markupOf(parts[i - 1]!) + text));
}

/** What comes to nothing. */
export const nothing = new Html("");

/** A value as JSON in a script element that is not run: nothing in it can end the element. */
export function jsonScript(id: string, value: unknown): Html {
  const json = JSON.stringify(value).replaceAll("<", "\\u003c");
  return new Html(`<script type="application/json" id="${id}">${json}</script>`);
}

/** A script of our own. */
export function script(code: string): Html {
  if (/<\/script|<!--/i.test(code)) throw new Error("a script that would end its element");
  return new Html(`<script>${code}</script>`);
}

/** A style sheet of our own. */
export function style(rules: string): Html {
  if (/<\/style/i.test(rules)) throw new Error("a style sheet that would end its element");
  return new Html(`<style>${rules}</style>`);
}

const entities: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function markupOf(part: Part): string {
  if (part instanceof Html) return part.text;
  if (typeof part === "object") return part.map(({ text }) => text).join("");
  return String(part).replaceAll(/[&<>"']/g, (character) => entities[character]!);
}
