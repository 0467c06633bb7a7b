/**
 * How much work a regular expression of a tokenizer.json can cause. The library
 * matches with Oniguruma, which gives up after ten million backtracking steps in
 * one match, and then the library ends the whole process. So the number of steps
 * is bounded before a text is passed on. Nothing is matched here.
 *
 * @module
 */

import {
  type AlternativeElementNode,
  type AlternativeNode,
  parse,
  type QuantifierNode,
} from "npm:oniguruma-parser@0.12.2/parser";

/** Backtracking steps that one match may take: Oniguruma's limit with a margin. */
const MOST_STEPS = 9_000_000;
/** Backtracking steps in a whole text: some seconds. */
const MOST_STEPS_IN_ALL = 200_000_000;
const LONGEST_PATTERN = 20_000;
/** A pattern is refused when it cannot be matched against texts of at least this length. */
const SHORTEST_LIMIT = 100;
/** A counted quantifier with more repetitions than this is treated as unbounded. */
const MANY = 1000;

/**
 * The backtracking steps that an expression can take on `n` characters, as the
 * coefficients of a polynomial: `cost[0] + cost[1] * n + cost[2] * n ** 2 …`.
 */
type Cost = readonly number[];

const FREE: Cost = [1];
/** Growth that doubles with every character. */
const ENDLESS: Cost = [Infinity];
const HIGHEST_DEGREE = 8;

function sum(a: Cost, b: Cost): Cost {
  const length = Math.max(a.length, b.length);
  return Array.from(
    { length },
    (_, degree) => (a[degree] ?? 0) + (b[degree] ?? 0),
  );
}

function product(a: Cost, b: Cost): Cost {
  const length = a.length + b.length - 1;
  if (length > HIGHEST_DEGREE + 1) return ENDLESS;
  const result = new Array<number>(length).fill(0);
  for (const [i, x] of a.entries()) {
    // 0 times Infinity would be NaN
    for (const [j, y] of b.entries()) result[i + j]! += x && y && x * y;
  }
  return result;
}

function stepsAt(cost: Cost, length: number): number {
  return cost.reduceRight((steps, factor) => steps * length + factor, 0);
}

/** What is known of a pattern without matching it. */
export interface PatternFacts {
  /**
   * The length in characters up to which any text can be matched against the
   * pattern; Infinity when it takes no backtracking steps.
   */
  readonly longestText: number;
  /** Whether it can match between two characters. */
  readonly canBeEmpty: boolean;
}

/**
 * Analyses the regular expression `pattern`.
 *
 * @throws {SyntaxError} saying why the pattern cannot be used.
 */
export function patternFacts(pattern: string): PatternFacts {
  if (pattern.length > LONGEST_PATTERN) {
    throw new SyntaxError(
      `it has ${pattern.length} characters, at most ${LONGEST_PATTERN} can be used`,
    );
  }
  const options = alternativesOf(pattern);
  return {
    longestText: longestTextFor(either(options, false)),
    canBeEmpty: options.some(({ body }) => body.every(canTakeNothing)),
  };
}

function longestTextFor(cost: Cost): number {
  if (cost.length === 1 && cost[0]! <= MOST_STEPS) return Infinity;
  let longest = 0;
  for (let step = 2 ** 23; step >= 1; step /= 2) {
    if (isSafe(cost, longest + step)) longest += step;
  }
  if (longest >= SHORTEST_LIMIT) return longest;
  throw new SyntaxError(
    "it can take a time without end on a short text, repetitions must not stand inside repetitions",
  );
}

/**
 * A match may be tried again at every character; this is counted when the time
 * is cubic.
 */
function isSafe(cost: Cost, length: number): boolean {
  const steps = stepsAt(cost, length);
  const inAll = cost.length > 2 ? steps * length : 0;
  return steps <= MOST_STEPS && inAll <= MOST_STEPS_IN_ALL;
}

function alternativesOf(pattern: string): readonly AlternativeNode[] {
  try {
    return parse(pattern, {
      rules: { captureGroup: true },
      // whether a property exists is left to the library
      skipPropertyNameValidation: true,
      normalizeUnknownPropertyNames: true,
    }).body;
  } catch (cause) {
    const reason = cause instanceof RangeError
      ? "its groups are nested too deeply"
      : (cause as Error).message;
    throw new SyntaxError(reason, { cause });
  }
}

/** `mayFail`: whether what follows can fail, so that other ways are tried. */
function either(options: readonly AlternativeNode[], mayFail: boolean): Cost {
  return options.map(({ body }) => inSequence(body, mayFail)).reduce(sum, []);
}

/**
 * Costs multiply: each way through one element is tried with each way through the
 * next. An element with only one way adds its own cost each time it is reached,
 * and an element that ends a sequence and cannot fail is reached once.
 */
function inSequence(
  elements: readonly AlternativeElementNode[],
  mayFail: boolean,
): Cost {
  let ways: Cost = FREE;
  let eachTime: Cost = FREE;
  let end: Cost = [0];
  let failsAfter = mayFail;
  for (const element of elements.toReversed()) {
    const cost = costOf(element, failsAfter);
    const fails = canFail(element);
    if (failsAfter && !isAtomic(element)) ways = product(ways, cost);
    else if (failsAfter || fails) eachTime = sum(eachTime, less(cost));
    else end = sum(end, less(cost));
    failsAfter ||= fails;
  }
  return sum(product(ways, eachTime), end);
}

/** `cost` without the one step that a match always takes. */
function less(cost: Cost): Cost {
  return [cost[0]! - 1, ...cost.slice(1)];
}

function costOf(element: AlternativeElementNode, mayFail: boolean): Cost {
  switch (element.type) {
    case "Assertion":
    case "Character":
    case "CharacterClass":
    case "CharacterSet":
    case "Directive":
      return FREE;
    case "CapturingGroup":
      return either(element.body, mayFail);
    case "Group":
      return either(element.body, mayFail && !element.atomic);
    case "LookaroundAssertion":
      return either(element.body, false);
    case "Quantifier":
      return costOfQuantifier(element, mayFail);
    default:
      throw new SyntaxError(
        `it uses ${NAMES[element.type]}, which cannot be bounded`,
      );
  }
}

const NAMES = {
  AbsenceFunction: "an absence function (?~…)",
  Backreference: "a back reference",
  NamedCallout: "a callout (*…)",
  Subroutine: "a subroutine call \\g<…>",
} as const;

function costOfQuantifier(node: QuantifierNode, mayFail: boolean): Cost {
  const { min, max, kind } = node;
  const body = node.body as AlternativeElementNode;
  if (Math.min(max, MANY) * repetitionsIn(body) > MANY * 10) {
    throw new SyntaxError("its counts of repetitions are too large together");
  }
  if (max === 0) return FREE;
  const isOpen = max > MANY;
  if (kind === "possessive") {
    const inner = costOf(body, false);
    return isOpen ? sum(inner, [0, 1]) : inner;
  }
  // the required repetitions can fail, and then those before are tried again
  if (!mayFail && min < 2) return costOf(body, false);
  const inner = costOf(body, true);
  const isSingleWay = inner.length === 1 && inner[0] === 1;
  if (isSingleWay && !mayFail) return FREE;
  if (isSingleWay) return isOpen ? [0, 1] : [max - min + 1];
  const repeats = mayFail ? max : min;
  if (repeats > MANY) return ENDLESS;
  let cost: Cost = [mayFail ? max - min + 1 : 1];
  for (let done = 0; done < repeats; done++) cost = product(cost, inner);
  return cost;
}

/** At most how often the innermost part of `element` is written out. */
function repetitionsIn(element: AlternativeElementNode): number {
  switch (element.type) {
    case "Quantifier": {
      const own = Number.isFinite(element.max) ? element.max : element.min;
      return Math.max(1, own) *
        repetitionsIn(element.body as AlternativeElementNode);
    }
    case "CapturingGroup":
    case "Group":
    case "LookaroundAssertion":
      return Math.max(
        1,
        ...element.body.flatMap(({ body }) => body.map(repetitionsIn)),
      );
    default:
      return 1;
  }
}

/** Whether `element` has no other way to match once it has matched. */
function isAtomic(element: AlternativeElementNode): boolean {
  return element.type === "LookaroundAssertion" ||
    (element.type === "Group" && element.atomic === true) ||
    (element.type === "Quantifier" && element.kind === "possessive");
}

function canFail(element: AlternativeElementNode): boolean {
  switch (element.type) {
    case "Directive":
      return false;
    case "Quantifier":
      return element.min > 0 &&
        canFail(element.body as AlternativeElementNode);
    case "CapturingGroup":
    case "Group":
      return element.body.every(({ body }) => body.some(canFail));
    default:
      return true;
  }
}

function canTakeNothing(element: AlternativeElementNode): boolean {
  switch (element.type) {
    case "Assertion":
    case "Directive":
    case "LookaroundAssertion":
      return true;
    case "Quantifier":
      return element.min === 0 ||
        canTakeNothing(element.body as AlternativeElementNode);
    case "CapturingGroup":
    case "Group":
      return element.body.some(({ body }) => body.every(canTakeNothing));
    default:
      return false;
  }
}
