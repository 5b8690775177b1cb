// What `*`, `_` and `~` beside Chinese, Japanese and Korean text mean.
//
// CommonMark's rule (section 6.2) needs a blank between a closing `**` after punctuation and the
// next letter. These scripts have no blanks, so `**重要：**请` would stay as it is. Here, as in
// the amendment "markdown-cjk-friendly", their characters count as neither letter nor punctuation.

const CJK = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}\u3000-\u303f\ufe10-\ufe1f\ufe30-\ufe6f\uff00-\uffef]/u;
const PUNCTUATION = /[\p{P}\p{S}]/u;
const BLANK = /\s/u;

const before = (text, at) => {
  const low = text.charCodeAt(at - 1);
  return low >= 0xdc00 && low < 0xe000 && at > 1 ? text.slice(at - 2, at) : text.slice(Math.max(0, at - 1), at);
};
const after = (text, at) => (at < text.length ? String.fromCodePoint(text.codePointAt(at)) : "");

/** Whether the signs from `start` to `end` can begin or end an emphasis: {opens, closes}. */
export function flanks(text, start, end) {
  const [left, right] = [before(text, start) || " ", after(text, end) || " "];
  const [leftBlank, rightBlank] = [BLANK.test(left), BLANK.test(right)];
  const [leftCjk, rightCjk] = [CJK.test(left), CJK.test(right)];
  const leftSign = PUNCTUATION.test(left) && !leftCjk;
  const rightSign = PUNCTUATION.test(right) && !rightCjk;
  const opens = !rightBlank && (!rightSign || leftBlank || leftSign || leftCjk);
  const closes = !leftBlank && (!leftSign || rightBlank || rightSign || rightCjk);
  if (text[start] !== "_") return { opens, closes };
  return {
    opens: opens && (!closes || PUNCTUATION.test(left)),
    closes: closes && (!opens || PUNCTUATION.test(right)),
  };
}

/** Let a parser of markdown-it judge so. */
export function friendly(parser) {
  parser.inline.State = class extends parser.inline.State {
    scanDelims(start) {
      let end = start + 1;
      while (end < this.posMax && this.src[end] === this.src[start]) end += 1;
      const { opens, closes } = flanks(this.src.slice(0, this.posMax), start, end);
      return { can_open: opens, can_close: closes, length: end - start };
    }
  };
}
