/**
 * Damaged copies of good files, the same for the same seed: bytes turned, cut and
 * doubled; JSON values exchanged for what nobody expects; text with foreign words.
 *
 * @module
 */

import { seeded } from "../formats/temporary.ts";

/** Draws that are the same in every run. */
export class Draws {
  readonly #numbers: Generator<number, never>;

  /** Draws of `seed`. */
  constructor(seed: number) {
    this.#numbers = seeded(seed);
    for (let count = 0; count < 4; count++) this.#numbers.next();
  }

  /** A whole number from 0 to `limit - 1`. */
  below(limit: number): number {
    return Math.floor(this.#numbers.next().value * limit);
  }

  /** One of `items`. */
  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

/** Numbers at which counters, lengths and offsets break. */
const EDGES = [
  0n,
  1n,
  0x7fn,
  0x80n,
  0xffn,
  0xffffn,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  1n << 40n,
  1n << 53n,
  1n << 62n,
  (1n << 63n) - 1n,
  (1n << 64n) - 1n,
];

type Bytes = Uint8Array<ArrayBuffer>;

/** `bytes` with one to three places damaged. */
export function byteMutant(bytes: Uint8Array, draws: Draws): Bytes {
  let mutant: Bytes = new Uint8Array(bytes);
  for (let count = 1 + draws.below(3); count > 0; count--) {
    mutant = damageOnce(mutant, draws);
  }
  return mutant;
}

function damageOnce(bytes: Bytes, draws: Draws): Bytes {
  // headers, directories and pickles stand at the ends of a file
  const near = Math.min(bytes.length, 400);
  const at = draws.below(3) === 0
    ? draws.below(bytes.length)
    : draws.below(2) === 0
    ? draws.below(near)
    : bytes.length - 1 - draws.below(near);
  const span = 1 + draws.below(draws.of([2, 8, 64, bytes.length]));
  switch (draws.below(7)) {
    case 0:
      bytes[at] = draws.below(256);
      return bytes;
    case 1:
      bytes[at]! ^= 1 << draws.below(8);
      return bytes;
    case 2:
      return bytes.slice(0, at);
    case 3: // a piece is lost
      return joined(bytes.slice(0, at), bytes.slice(at + span));
    case 4: // a piece comes twice
      return joined(bytes.slice(0, at + span), bytes.slice(at));
    case 5: // foreign bytes
      return joined(
        bytes.slice(0, at),
        Uint8Array.from({ length: span % 64 }, () => draws.below(256)),
        bytes.slice(at),
      );
    default:
      writeEdge(bytes, at, draws);
      return bytes;
  }
}

function writeEdge(bytes: Uint8Array, at: number, draws: Draws): void {
  const width = draws.of([2, 4, 8]);
  if (at + width > bytes.length) return;
  let value = draws.of(EDGES);
  for (let index = 0; index < width; index++, value >>= 8n) {
    bytes[at + index] = Number(value & 0xffn);
  }
}

function joined(...parts: readonly Uint8Array[]): Bytes {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Written where a JSON value stood. */
const STRANGE = [
  "null",
  "true",
  "false",
  "0",
  "-0",
  "-1",
  "1.5",
  "1e999",
  "-1e999",
  "NaN",
  "Infinity",
  "4294967296",
  "1099511627776",
  "9007199254740993",
  "4611686018427387904",
  "1e308",
  '""',
  '"1"',
  '"__proto__"',
  '"constructor"',
  '"toString"',
  '"\\u0000"',
  '"\\u001b[2J\\u202e"',
  '"\\ud800"',
  '"("',
  '"(a+)+$"',
  '"../../etc/passwd"',
  "[]",
  "{}",
  "[[]]",
  "[null]",
  "[-1]",
  "[1e99]",
  '{"__proto__": {"x": 1}}',
  '{"a": 1, "a": 2}',
  `"${"x".repeat(5000)}"`,
  `${"[".repeat(3000)}${"]".repeat(3000)}`,
  `${'{"a":'.repeat(3000)}1${"}".repeat(3000)}`,
  "[".repeat(20000),
];
const STRANGE_KEYS = [
  "__proto__",
  "constructor",
  "hasOwnProperty",
  "",
  "\u001b[2J",
  "x".repeat(2000),
];

/** A JSON text whose tree has one to three values or keys exchanged. */
export function jsonMutant(text: string, draws: Draws): string {
  if (draws.below(6) === 0) return textMutant(text, draws);
  const places: number[] = [];
  const marks = new Map<string, string>();
  const count = 1 + draws.below(3);
  const total = countNodes(JSON.parse(text));
  for (let each = 0; each < count; each++) places.push(draws.below(total));
  let index = 0;
  const visit = (value: unknown): unknown => {
    if (places.includes(index++)) {
      const mark = `\u{f0001}${marks.size}`;
      marks.set(JSON.stringify(mark), draws.of(STRANGE));
      return mark;
    }
    if (Array.isArray(value)) return value.map(visit);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).flatMap(([key, it]): [string, unknown][] => {
        const kind = draws.below(60);
        if (kind === 0) return [];
        const name = kind === 1 ? draws.of(STRANGE_KEYS) : key;
        return [[name, visit(it)]];
      }),
    );
  };
  let mutant = JSON.stringify(visit(JSON.parse(text))) ?? "";
  for (const [mark, value] of marks) mutant = mutant.replace(mark, () => value);
  return mutant;
}

function countNodes(value: unknown): number {
  if (typeof value !== "object" || value === null) return 1;
  return Object.values(value).reduce<number>(
    (sum, it) => sum + countNodes(it),
    1,
  );
}

/** Words that mean something in JSON, JSONC or YAML. */
const WORDS = [
  "&a ",
  "*a",
  "<<: *a\n",
  "? ",
  "- ",
  ": ",
  "{",
  "}",
  "[",
  "]",
  ",",
  "#",
  "|\n",
  ">\n",
  "!!set ",
  "!!binary ",
  "!x ",
  "%YAML 1.1\n---\n",
  "---\n",
  "...\n",
  "\t",
  "\n",
  "\r",
  "\0",
  '"',
  "'",
  "//",
  "/*",
  "\ufeff",
  "\u2028",
  "~",
  ".nan",
  "-.inf",
  "0x7fffffffffffffffff",
  "1e999",
  "__proto__: ",
  "{? ".repeat(100),
  "[?".repeat(200),
  "{".repeat(300),
  "- ".repeat(300),
  "? ".repeat(300),
  "[".repeat(20000),
];

/** `text` with one to four words put in, lines lost, doubled or moved. */
export function textMutant(text: string, draws: Draws): string {
  let mutant = text;
  for (let count = 1 + draws.below(4); count > 0; count--) {
    const at = draws.below(mutant.length + 1);
    const lines = mutant.split("\n");
    const line = draws.below(lines.length);
    switch (draws.below(5)) {
      case 0:
        lines.splice(line, 1);
        mutant = lines.join("\n");
        break;
      case 1:
        lines.splice(line, 0, draws.of(lines));
        mutant = lines.join("\n");
        break;
      case 2:
        mutant = mutant.slice(0, at) + mutant.slice(at + 1 + draws.below(5));
        break;
      default:
        mutant = mutant.slice(0, at) + draws.of(WORDS) + mutant.slice(at);
    }
  }
  return mutant;
}
