// How much of an answer is drawn as Markdown. What is beyond is shown too, as plain text: a page
// that stands still for seconds is worse than stars in a text of 100 pages.

/** Characters of an answer; blocks that begin later are plain. */
export const ANSWER_MOST = 150_000;
/** Blocks of an answer. */
export const BLOCKS_MOST = 3_000;
/** Characters of one block that is no code; a longer one, and what follows it, are plain. */
export const BLOCK_MOST = 60_000;
/** Characters of one paragraph, cell or heading; the time of some patterns grows with its square. */
export const INLINE_MOST = 20_000;
/** Levels of quotes and lists; markdown-it drops what is deeper, so such a block is plain. */
export const NESTING_MOST = 40;
/** Cells of one table, with those that markdown-it adds; a browser lays the whole table out for every row that comes. */
export const CELLS_MOST = 6_000;

const CHUNK = 8_192;

/** Plain text in pieces, each of which stays as it is when text is added. */
export function chunks(text) {
  const made = [];
  let from = 0;
  while (text.length - from > CHUNK) {
    const line = text.slice(from + CHUNK, from + 2 * CHUNK).indexOf("\n");
    if (line < 0 && text.length - from < 2 * CHUNK) break; // its end is not known yet
    let to = from + (line < 0 ? 2 * CHUNK : CHUNK + line + 1);
    const before = text.charCodeAt(to - 1);
    if (before >= 0xd800 && before < 0xdc00) to -= 1; // never between the halves of a character
    made.push(text.slice(from, to));
    from = to;
  }
  if (from < text.length) made.push(text.slice(from));
  return made;
}
