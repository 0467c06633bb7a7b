/**
 * Seeded mutants of JSON documents: values swapped, dropped, doubled, replaced by
 * odd ones. The same seed gives the same mutant.
 *
 * @module
 */

import { COMPONENTS, SEQUENCES } from "./mutant_components.ts";

/** A source of random choices that a seed fixes. */
export class Dice {
  #state: number;

  /** Starts at `seed`. */
  constructor(seed: number) {
    this.#state = (seed * 2654435761 + 0x9e3779b9) >>> 0;
  }

  /** A whole number from 0 up to `end`, `end` left out. */
  below(end: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * end);
  }

  /** One of `items`. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

/** A JSON value. */
export type Json = null | boolean | number | string | Json[] | {
  [key: string]: Json;
};

/** A place in a document: what holds it and under which key. */
interface Place {
  readonly holder: Json[] | { [key: string]: Json };
  readonly key: string;
}

const ODD: readonly Json[] = [
  null,
  true,
  false,
  0,
  1,
  2,
  -1,
  1.5,
  1e308,
  -1e308,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 53,
  1e-300,
  "",
  "a",
  " ",
  "▁",
  "ab",
  "\u0000",
  "\ud800",
  "\u{20bb7}",
  "<s>",
  "__proto__",
  "constructor",
  "x".repeat(20_001),
  "\u001b[31m",
  "é",
  "##",
  "</w>",
  "[UNK]",
  [],
  {},
  [[]],
  [null],
  ["a", "b"],
  ["a", 1],
  { type: "Sequence" },
  { String: "a" },
  { String: "" },
  { Regex: "a", String: "b" },
  nested(130),
  nested(12_000),
];

function nested(depth: number): Json {
  let value: Json = [];
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

function placesOf(value: Json, into: Place[] = [], depth = 0): Place[] {
  if (value === null || typeof value !== "object" || depth > 40) return into;
  for (const key of Object.keys(value)) {
    into.push({ holder: value, key });
    placesOf((value as Record<string, Json>)[key]!, into, depth + 1);
  }
  return into;
}

/** Changes `place` in one of the ways there are. */
function change(place: Place, places: readonly Place[], dice: Dice): void {
  const holder = place.holder as Record<string, Json>;
  const value = holder[place.key]!;
  switch (dice.below(7)) {
    case 0:
      if (Array.isArray(place.holder)) {
        place.holder.splice(Number(place.key), 1);
      } else delete holder[place.key];
      return;
    case 1:
    case 2:
      holder[place.key] = dice.pick(ODD);
      return;
    case 3: {
      const other = dice.pick(places);
      holder[place.key] = structuredClone(
        (other.holder as Record<string, Json>)[other.key]!,
      );
      return;
    }
    case 4:
      if (typeof value === "string") {
        const at = dice.below(value.length + 1);
        holder[place.key] = value.slice(0, at) +
          dice.pick(["", "a", "A", "\u0000", "\ud800", "▁", "/"]) +
          value.slice(at + dice.below(3));
      } else if (typeof value === "number") {
        holder[place.key] = value +
          dice.pick([1, -1, 0.5, 1000, -value, 2 ** 32]);
      } else if (typeof value === "boolean") holder[place.key] = !value;
      else holder[place.key] = dice.pick(ODD);
      return;
    case 5:
      if (Array.isArray(value)) {
        value.push(...value.slice(0, 3));
      } else holder[place.key] = dice.pick(ODD);
      return;
    default:
      if (Array.isArray(place.holder)) {
        place.holder.splice(Number(place.key), 0, dice.pick(ODD));
      } else {holder[
          dice.pick(["type", "id", "content", "extra", "__proto__", "ids"])
        ] = dice.pick(ODD);}
  }
}

function changeComponents(document: Record<string, Json>, dice: Dice): void {
  const kind = dice.pick(Object.keys(COMPONENTS));
  const make = (): Json => dice.pick(COMPONENTS[kind]!)(dice);
  const more = Array.from({ length: 1 + dice.below(3) }, make);
  const old = document[kind];
  if (old && dice.below(2) === 0) {
    more.splice(dice.below(more.length + 1), 0, old);
  }
  let made: Json = more.length === 1
    ? more[0]!
    : { type: "Sequence", [SEQUENCES[kind]!]: more };
  const depth = dice.below(20) === 0 ? dice.pick([5, 60, 200, 10_000]) : 0;
  for (let i = 0; i < depth; i++) {
    made = { type: "Sequence", [SEQUENCES[kind]!]: [made] };
  }
  document[kind] = made;
}

/** The text of the mutant number `seed` of the JSON document `text`. */
export function mutant(text: string, seed: number): string {
  const dice = new Dice(seed);
  if (dice.below(25) === 0) {
    const at = dice.below(text.length);
    return text.slice(0, at) + dice.pick(["", '"', "}", "1", ",", "\\"]) +
      text.slice(at + dice.below(4));
  }
  const document = JSON.parse(text) as Record<string, Json>;
  const rounds = dice.pick([1, 1, 1, 2, 3]);
  for (let round = 0; round < rounds; round++) {
    if ("model" in document && dice.below(2) === 0) {
      changeComponents(document, dice);
      continue;
    }
    const all = placesOf(document);
    // vocabularies and merges are most of a file and are all alike
    const few = all.filter(({ holder }) => Object.keys(holder).length < 60);
    const places = dice.below(5) === 0 || few.length === 0 ? all : few;
    if (places.length > 0) change(dice.pick(places), all, dice);
  }
  return stringify(document);
}

/** JSON text, of nests too deep for JSON.stringify as well. */
function stringify(value: Json): string {
  try {
    return JSON.stringify(value);
  } catch {
    const parts: string[] = [];
    // an own stack: a string is text, anything else is a value still to be written
    const open: (Json | { readonly text: string })[] = [value];
    const written = new WeakSet<object>();
    while (open.length > 0) {
      const next = open.pop()!;
      if (typeof next === "object" && next !== null && written.has(next)) {
        parts.push((next as { text: string }).text);
        continue;
      }
      const say = (text: string): { readonly text: string } => {
        const mark = { text };
        written.add(mark);
        return mark;
      };
      if (typeof next !== "object" || next === null) {
        parts.push(JSON.stringify(next));
        continue;
      }
      const isList = Array.isArray(next);
      const items = Object.entries(next as Record<string, Json>);
      const queue: (Json | { readonly text: string })[] = [
        say(isList ? "[" : "{"),
      ];
      for (const [i, [key, item]] of items.entries()) {
        queue.push(
          say(`${i > 0 ? "," : ""}${isList ? "" : `${JSON.stringify(key)}:`}`),
          item,
        );
      }
      queue.push(say(isList ? "]" : "}"));
      open.push(...queue.reverse());
    }
    return parts.join("");
  }
}
