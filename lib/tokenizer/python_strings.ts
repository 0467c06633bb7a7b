/**
 * Methods of Python's strings that chat templates call, and its clock. Characters
 * are code points, and blanks are those of `str.isspace`.
 *
 * @module
 */

/** Blanks in Python: those of Unicode and four control characters, without U+FEFF. */
const BLANK =
  "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const BLANKS_BEFORE = new RegExp(`^[${BLANK}]+`);
const BLANKS_AFTER = new RegExp(`[${BLANK}]+$`);
const LINE_ENDS = "\\n-\\r\\x1c-\\x1e\\x85\\u2028\\u2029";
const LINE_END = new RegExp(`\\r\\n|[${LINE_ENDS}]`);
const WORDS = new RegExp(`[^${BLANK}]+`, "g");

/** A side of a text. */
export type Side = "both" | "left" | "right";

/** `str.strip`, `lstrip` and `rstrip`: without `characters` there, or without blanks. */
export function stripped(
  text: string,
  side: Side = "both",
  characters: string | null = null,
): string {
  if (characters === null) {
    const left = side === "right" ? text : text.replace(BLANKS_BEFORE, "");
    if (side === "left") return left;
    // a search from the end: a pattern tries each run of blanks
    let end = left.length;
    while (end > 0 && BLANKS_AFTER.test(left[end - 1]!)) end--;
    return left.slice(0, end);
  }
  const set = new Set(characters);
  const all = [...text];
  let [start, end] = [0, all.length];
  if (side !== "right") { while (start < end && set.has(all[start]!)) start++; }
  if (side !== "left") { while (end > start && set.has(all[end - 1]!)) end--; }
  return all.slice(start, end).join("");
}

/** `str.split(separator, most)`; without a separator, at blanks. */
export function split(
  text: string,
  separator: string | null,
  most: number,
): string[] {
  if (separator === "") throw new Error("a separator is empty");
  if (separator !== null) {
    const parts = text.split(separator);
    return most < 0 || parts.length <= most
      ? parts
      : [...parts.slice(0, most), parts.slice(most).join(separator)];
  }
  const words: string[] = [];
  for (const { 0: word, index } of text.matchAll(WORDS)) {
    if (words.length === most) {
      return [...words, text.slice(index)];
    }
    words.push(word);
  }
  return words;
}

/** `str.rsplit(separator, most)`. */
export function splitFromEnd(
  text: string,
  separator: string | null,
  most: number,
): string[] {
  const turned = (it: string): string => [...it].reverse().join("");
  return split(
    turned(text),
    separator === null ? null : turned(separator),
    most,
  ).map(turned).reverse();
}

/** `str.splitlines()`. */
export function lines(text: string): string[] {
  const found = text.split(LINE_END);
  if (found.at(-1) === "") found.pop();
  return found;
}

/** `str.capitalize()`: the first character large, the others small. */
export function capitalized(text: string): string {
  const [first = "", ...rest] = text;
  return first.toUpperCase() + rest.join("").toLowerCase();
}

/** The filter `title`: each word large at its beginning and small after it. */
export function titled(text: string): string {
  return text.split(/([-\s({[<]+)/).map(capitalized).join("");
}

const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday"
  .split(" ");
const MONTHS =
  "January February March April May June July August September October November December"
    .split(" ");

/** `datetime.now().strftime(format)`, in English as Python's is without a locale. */
export function clock(format: string, now = new Date()): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = DAYS[now.getDay()]!;
  const month = MONTHS[now.getMonth()]!;
  const hour = now.getHours() % 12 || 12;
  const parts: Readonly<Record<string, string>> = {
    Y: String(now.getFullYear()),
    y: two(now.getFullYear() % 100),
    m: two(now.getMonth() + 1),
    d: two(now.getDate()),
    e: String(now.getDate()).padStart(2),
    B: month,
    b: month.slice(0, 3),
    h: month.slice(0, 3),
    A: day,
    a: day.slice(0, 3),
    w: String(now.getDay()),
    H: two(now.getHours()),
    I: two(hour),
    M: two(now.getMinutes()),
    S: two(now.getSeconds()),
    p: now.getHours() < 12 ? "AM" : "PM",
    "%": "%",
  };
  const whole: Readonly<Record<string, string>> = {
    F: "%Y-%m-%d",
    D: "%m/%d/%y",
    T: "%H:%M:%S",
    R: "%H:%M",
  };
  return format.replace(/%([FDTR])/g, (_, it: string) => whole[it]!)
    .replace(/%(-?)([A-Za-z%])/g, (all, plain: string, it: string) => {
      const part = parts[it];
      if (part === undefined) return all;
      return plain === "" ? part : part.replace(/^[0 ](?=.)/, "");
    });
}
