/**
 * The grammar of Python's regular expressions, from text to a tree. Where Python
 * and JavaScript differ (`\A`, `\Z`, `(?P<n>)`, `(?i)`, `{,n}`), Python's rules
 * apply.
 *
 * @module
 */

/** A part of an expression. */
export type PatternNode =
  /** One code point. */
  | { readonly type: "character"; readonly test: (point: number) => boolean }
  | { readonly type: "sequence"; readonly items: readonly PatternNode[] }
  | { readonly type: "either"; readonly options: readonly PatternNode[] }
  | {
    readonly type: "repeat";
    readonly item: PatternNode;
    readonly min: number;
    readonly max: number;
  }
  /** A condition on a position: `^`, `$`, `\b`. */
  | {
    readonly type: "place";
    readonly test: (text: readonly number[], at: number) => boolean;
  }
  | {
    readonly type: "look";
    readonly item: PatternNode;
    readonly behind: boolean;
    readonly negated: boolean;
  };

type Test = (point: number) => boolean;

interface Flags {
  readonly ignoreCase: boolean;
  readonly multiline: boolean;
  readonly dotAll: boolean;
}

const DEEPEST = 100;
const LONGEST = 100_000;
const NEWLINE = 10;

/**
 * Parses the expression `source`.
 *
 * @throws {SyntaxError} saying what is wrong and where, without quoting the
 *   expression.
 */
export function parsePattern(source: string): PatternNode {
  if (source.length > LONGEST) {
    throw new SyntaxError(`it has more than ${LONGEST} characters`);
  }
  return new Parser(source).parse();
}

/** Escapes that stand for a class of characters, in and outside brackets. */
const CLASSES: Readonly<Record<string, Test>> = {
  d: (point) => /\p{Nd}/u.test(String.fromCodePoint(point)),
  w: (point) => /[\p{L}\p{N}_]/u.test(String.fromCodePoint(point)),
  // deno-lint-ignore no-control-regex
  s: (point) => /[\s\x1c-\x1f\x85]/.test(String.fromCodePoint(point)),
};

/** Escapes that stand for one character. */
const CONTROLS: Readonly<Record<string, number>> = {
  a: 7,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
  v: 11,
};

class Parser {
  readonly #source: readonly string[];
  #at = 0;
  #depth = 0;
  #flags: Flags = { ignoreCase: false, multiline: false, dotAll: false };

  constructor(source: string) {
    this.#source = [...source];
  }

  parse(): PatternNode {
    this.#globalFlags();
    const root = this.#either();
    if (this.#at < this.#source.length) throw this.#wrong("unbalanced )");
    return root;
  }

  #peek(text: string): boolean {
    return this.#source.slice(this.#at, this.#at + text.length).join("") ===
      text;
  }

  #take(text: string): boolean {
    const found = this.#peek(text);
    if (found) this.#at += text.length;
    return found;
  }

  #next(what: string): string {
    const character = this.#source[this.#at++];
    if (character === undefined) throw this.#wrong(`${what} without an end`);
    return character;
  }

  #wrong(what: string): SyntaxError {
    return new SyntaxError(`${what} at character ${this.#at + 1}`);
  }

  /** `(?i)` and similar flags, which Python allows at the start only. */
  #globalFlags(): void {
    while (this.#peek("(?")) {
      const rest = this.#source.slice(this.#at + 2, this.#at + 10).join("");
      const letters = /^([a-zA-Z]+)\)/.exec(rest)?.[1];
      if (letters === undefined) return;
      this.#setFlags(letters, true);
      this.#at += letters.length + 3;
    }
  }

  #setFlags(letters: string, on: boolean): void {
    for (const letter of letters) {
      if (letter === "i") this.#flags = { ...this.#flags, ignoreCase: on };
      else if (letter === "m") this.#flags = { ...this.#flags, multiline: on };
      else if (letter === "s") this.#flags = { ...this.#flags, dotAll: on };
      else if (letter !== "u") {
        throw this.#wrong(`the flag ${letter}, which is not supported, stands`);
      }
    }
  }

  #either(): PatternNode {
    if (++this.#depth > DEEPEST) throw this.#wrong("groups nested too deeply");
    const options = [this.#sequence()];
    while (this.#take("|")) options.push(this.#sequence());
    this.#depth--;
    return options.length === 1 ? options[0]! : { type: "either", options };
  }

  #sequence(): PatternNode {
    const items: PatternNode[] = [];
    while (this.#at < this.#source.length && !/[|)]/.test(this.#here())) {
      const item = this.#item();
      if (item !== null) items.push(this.#repeated(item));
    }
    return items.length === 1 ? items[0]! : { type: "sequence", items };
  }

  #here(): string {
    return this.#source[this.#at] ?? "";
  }

  #item(): PatternNode | null {
    const character = this.#here();
    if (/[*+?]/.test(character)) throw this.#wrong("nothing to repeat");
    this.#at++;
    switch (character) {
      case "(":
        return this.#group();
      case "[":
        return this.#brackets();
      case "\\":
        return this.#escape();
      case ".": {
        const { dotAll } = this.#flags;
        return {
          type: "character",
          test: (point) => dotAll || point !== NEWLINE,
        };
      }
      case "^":
        return startOf(this.#flags.multiline);
      case "$":
        return endOf(this.#flags.multiline);
      default:
        return this.#literal(character.codePointAt(0)!);
    }
  }

  #literal(point: number): PatternNode {
    return this.#character((each) => each === point);
  }

  /** A character for which `test` is true, in either case when case is ignored. */
  #character(test: Test): PatternNode {
    if (!this.#flags.ignoreCase) return { type: "character", test };
    return {
      type: "character",
      test: (point) => {
        const character = String.fromCodePoint(point);
        return [
          character,
          character.toLowerCase(),
          character.toUpperCase(),
        ].some((each) => test(each.codePointAt(0)!));
      },
    };
  }

  #repeated(item: PatternNode): PatternNode {
    const counts = this.#counts();
    if (counts === null) return item;
    if (item.type === "place") throw this.#wrong("nothing to repeat");
    if (this.#take("+")) {
      throw this.#wrong("a possessive repeat, not supported,");
    }
    this.#take("?");
    if (this.#counts() !== null) throw this.#wrong("multiple repeat");
    const [min, max] = counts;
    if (min > max) throw this.#wrong("a smallest count above the largest");
    return { type: "repeat", item, min, max };
  }

  #counts(): readonly [number, number] | null {
    if (this.#take("*")) return [0, Infinity];
    if (this.#take("+")) return [1, Infinity];
    if (this.#take("?")) return [0, 1];
    const rest = this.#source.slice(this.#at, this.#at + 30).join("");
    const found = /^\{(\d*)(,?)(\d*)\}/.exec(rest);
    if (found === null || found[0] === "{}") return null;
    this.#at += found[0].length;
    const [, least = "", comma, most = ""] = found;
    const min = Number(least);
    return [min, comma === "" ? min : most === "" ? Infinity : Number(most)];
  }

  #group(): PatternNode | null {
    const before = this.#flags;
    if (this.#take("?#")) {
      while (this.#next("a comment") !== ")");
      return null;
    }
    for (
      const [start, behind, negated] of [
        ["?=", false, false],
        ["?!", false, true],
        ["?<=", true, false],
        ["?<!", true, true],
      ] as const
    ) {
      if (this.#take(start)) {
        return { type: "look", item: this.#inside(), behind, negated };
      }
    }
    if (this.#take("?P<")) this.#groupName();
    else if (this.#take("?")) this.#scopedFlags();
    const item = this.#inside();
    this.#flags = before;
    // Wrapped, so that a repeat after the group applies to all of it.
    return { type: "sequence", items: [item] };
  }

  #inside(): PatternNode {
    const item = this.#either();
    if (!this.#take(")")) throw this.#wrong("missing )");
    return item;
  }

  #groupName(): void {
    let name = "";
    for (let each = ""; (each = this.#next("a group's name")) !== ">";) {
      name += each;
    }
    if (!/^[\p{L}_][\p{L}\p{N}_]*$/u.test(name)) {
      throw this.#wrong("a group with a bad name");
    }
  }

  /** The flags between `(?` and `:`. */
  #scopedFlags(): void {
    let letters = "";
    for (let each = ""; (each = this.#next("a group")) !== ":";) {
      letters += each;
      if (!/^[a-zA-Z]*-?[a-zA-Z]*$/.test(letters)) {
        throw this.#wrong(`"(?${letters}", which is not supported,`);
      }
    }
    const [on = "", off = ""] = letters.split("-");
    this.#setFlags(on, true);
    this.#setFlags(off, false);
  }

  #escape(): PatternNode {
    const letter = this.#next("an escape");
    switch (letter) {
      case "A":
        return startOf(false);
      case "Z":
        return { type: "place", test: (text, at) => at === text.length };
      case "b":
        return { type: "place", test: atWordBorder };
      case "B":
        return {
          type: "place",
          test: (text, at) => !atWordBorder(text, at),
        };
    }
    const found = this.#escaped(letter);
    return typeof found === "number"
      ? this.#literal(found)
      : this.#character(found);
  }

  /** The character or class that `\letter` stands for. */
  #escaped(letter: string): number | Test {
    const test = CLASSES[letter.toLowerCase()];
    if (/[dws]/i.test(letter) && test !== undefined) {
      return /[dws]/.test(letter) ? test : (point) => !test(point);
    }
    if (Object.hasOwn(CONTROLS, letter)) return CONTROLS[letter]!;
    const digits = { x: 2, u: 4, U: 8 }[letter];
    if (digits !== undefined) return this.#hexadecimal(digits);
    if (letter === "0") return 0;
    if (/[1-9]/.test(letter)) {
      throw this.#wrong("a reference to a group, which is not supported,");
    }
    if (/[a-zA-Z]/.test(letter)) throw this.#wrong(`bad escape \\${letter}`);
    return letter.codePointAt(0)!;
  }

  #hexadecimal(digits: number): number {
    const text = this.#source.slice(this.#at, this.#at + digits).join("");
    const point = /^[0-9a-fA-F]+$/.test(text) && text.length === digits
      ? parseInt(text, 16)
      : Infinity;
    if (point > 0x10ffff) throw this.#wrong("an incomplete escape");
    this.#at += digits;
    return point;
  }

  #brackets(): PatternNode {
    const negated = this.#take("^");
    const tests: Test[] = [];
    for (let first = true; first || !this.#peek("]"); first = false) {
      const low = this.#bracketItem();
      if (!this.#peek("-") || this.#source[this.#at + 1] === "]") {
        tests.push(typeof low === "number" ? (point) => point === low : low);
        continue;
      }
      this.#at++;
      const high = this.#bracketItem();
      if (typeof low !== "number" || typeof high !== "number" || low > high) {
        throw this.#wrong("a bad character range");
      }
      tests.push((point) => point >= low && point <= high);
    }
    this.#at++;
    const any = this.#character((point) => tests.some((test) => test(point)));
    if (!negated || any.type !== "character") return any;
    return { type: "character", test: (point) => !any.test(point) };
  }

  #bracketItem(): number | Test {
    const character = this.#next("a set of characters");
    if (character !== "\\") return character.codePointAt(0)!;
    const letter = this.#next("an escape");
    return letter === "b" ? 8 : this.#escaped(letter);
  }
}

function startOf(multiline: boolean): PatternNode {
  return {
    type: "place",
    test: (text, at) => at === 0 || (multiline && text[at - 1] === NEWLINE),
  };
}

/** Python's `$` also matches before a newline at the end of the text. */
function endOf(multiline: boolean): PatternNode {
  return {
    type: "place",
    test: (text, at) =>
      at === text.length ||
      (text[at] === NEWLINE && (multiline || at === text.length - 1)),
  };
}

function atWordBorder(text: readonly number[], at: number): boolean {
  const isWord = (index: number): boolean =>
    text[index] !== undefined && CLASSES.w!(text[index]);
  return isWord(at - 1) !== isWord(at);
}
