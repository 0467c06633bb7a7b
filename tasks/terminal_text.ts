/**
 * Text as a terminal shows it: how many columns it takes, where it is broken into
 * lines, and how a very long one is shortened.
 *
 * @module
 */

/** Characters that take two columns: Chinese, Japanese, Korean, full width, emoji. */
const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]/u;
/** Characters that take none: marks on the one before, and invisible ones. */
const NONE = /[\p{Mn}\p{Me}\p{Cf}]/u;

/** How many columns of a terminal `text` takes. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) {
    columns += NONE.test(character) ? 0 : WIDE.test(character) ? 2 : 1;
  }
  return columns;
}

/** A part of a text with what is written before and after it, which takes no column. */
export interface StyledText {
  readonly text: string;
  readonly before?: string;
  readonly after?: string;
}

/** Where lines end. */
export interface Lines {
  /** Width of a line; `null`: the text is not broken. */
  readonly columns: number | null;
  /** Spaces before every line but the first, which is indented already. */
  readonly indent: number;
}

/** Lines are not made shorter than this: a wide character must fit. */
const LEAST = 10;

/** The parts one after the other, broken between words where a line is full. */
export function wrapped(
  parts: readonly StyledText[],
  { columns, indent }: Lines,
): string {
  const room = Math.max((columns ?? Infinity) - indent, LEAST);
  const feed = `\n${" ".repeat(indent)}`;
  let used = 0;
  return parts.map(({ text, before = "", after = "" }) => {
    let line = before;
    for (const word of wordsOf(text, room)) {
      const width = columnsOf(word);
      if (used + width > room) {
        line += feed;
        used = 0;
        if (word === " ") continue;
      }
      line += word;
      used += width;
    }
    return line + after;
  }).join("");
}

/** Words and what is between them; single characters of a word that fills a line. */
function wordsOf(text: string, room: number): string[] {
  if (room === Infinity) return [text];
  return [...new Intl.Segmenter("en", { granularity: "word" }).segment(text)]
    .flatMap(({ segment }) =>
      columnsOf(segment) > room ? [...segment] : [segment]
    );
}

const LONGEST = 2000;
const ENDS = LONGEST / 2;

/** `text`, without its middle where it is longer than 2,000 characters. */
export function shortened(text: string): string {
  if (text.length <= LONGEST) return text;
  const left = text.slice(0, ENDS).toWellFormed();
  const right = text.slice(-ENDS).toWellFormed();
  const gone = (text.length - LONGEST).toLocaleString("en-US");
  return `${left} … ${gone} characters … ${right}`;
}
