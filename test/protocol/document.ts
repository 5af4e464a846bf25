/* PROTOCOL.md, taken apart: chapters, sections, tables and frames. */

/** The cells of a row, without backquotes and links' addresses. */
export type Row = (string | undefined)[];
export interface Table {
  /** The first column's. */
  heading: string;
  rows: Row[];
}
export interface FrameText {
  /** Whose frame; empty where there is one client. */
  client: string;
  direction: "→" | "←";
  json: string;
}

/** The text under `## title`. */
export function chapter(text: string, title: string): string {
  return under(text, "## ", title);
}

/** The text under `### title`, with or without backquotes. */
export function section(text: string, title: string): string {
  const found = sections(text)[title];
  if (found === undefined) throw new Error(`there is no section ${title}`);
  return found;
}

/** The sections of a chapter by their titles. */
export function sections(text: string): Record<string, string> {
  const parts = text.split(/^### /m).slice(1);
  return Object.fromEntries(
    parts.map((part) => {
      const end = part.indexOf("\n");
      return [plain(part.slice(0, end)), part.slice(end + 1)];
    }),
  );
}

export function tables(text: string): Table[] {
  const found: Table[] = [];
  let lines: string[] = [];
  for (const line of [...text.split("\n"), ""]) {
    if (line.startsWith("|")) {
      lines.push(line);
    } else if (lines.length > 0) {
      const [head = "", , ...rows] = lines;
      found.push({ heading: cellsOf(head)[0]!, rows: rows.map(cellsOf) });
      lines = [];
    }
  }
  return found;
}

/** The frames in the code blocks of `text`: lines that begin with an arrow, and the indented lines that go on with them. */
export function frames(text: string, limits: object): FrameText[] {
  const found: FrameText[] = [];
  for (const [, block = ""] of text.matchAll(/^```text\n([\s\S]*?)^```/gm)) {
    let open: FrameText | undefined;
    for (const line of block.split("\n")) {
      const [, client = "", direction, json] = /^(?:(\w+) )?([→←]) (\{.*)$/.exec(line) ?? [];
      if (json !== undefined) found.push((open = { client, direction: direction as "→" | "←", json }));
      else if (open !== undefined && /^ {4}/.test(line)) open.json += line.trim();
      else open = undefined;
    }
  }
  const limitsText = `"limits":${JSON.stringify(limits)}`;
  for (const frame of found) frame.json = frame.json.replace('"limits":{…}', limitsText);
  return found;
}

function under(text: string, mark: string, title: string): string {
  const start = text.indexOf(`\n${mark}${title}\n`);
  if (start < 0) throw new Error(`there is no chapter ${title}`);
  const end = text.indexOf(`\n${mark}`, start + 1);
  return text.slice(start, end < 0 ? undefined : end);
}

function cellsOf(line: string): string[] {
  return line
    .replace(/^\||\|$/g, "")
    .split("|")
    .map((cell) => plain(cell));
}

function plain(cell: string): string {
  return cell.trim().replaceAll("`", "");
}
