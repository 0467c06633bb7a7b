/**
 * Rows of JSON: one value a line, or one array as the original data set has it.
 *
 * @module
 */

import {
  type ArrayElement,
  arrayElements,
  isArrayAlone,
} from "./json_array.ts";
import {
  lineBlocks,
  type Located,
  type Problem,
  type Problems,
} from "./row_text.ts";
import { parseJson } from "./row_values.ts";

/** The longest text that is tried as one object. */
const LONGEST_OBJECT = 2 ** 26;

/**
 * The values of a JSON array, or else of the lines of a text, blank ones left out.
 * `pieces` gives the text from its beginning. What is not JSON is added to
 * `problems`.
 */
export function* jsonRows(
  pieces: () => Iterable<string>,
  problems: Problems,
): Generator<Located> {
  const beginning = firstCharacter(pieces());
  if (beginning === "[" && isArrayAlone(pieces())) {
    yield* arrayRows(pieces(), problems);
  } else {
    yield* lineRows(pieces(), {
      problems,
      whole: beginning === "{" ? () => oneObject(pieces()) : () => null,
    });
  }
}

function firstCharacter(pieces: Iterable<string>): string | undefined {
  for (const piece of pieces) {
    const text = piece.trimStart();
    if (text !== "") return text[0];
  }
  return undefined;
}

/** `whole` tells what is wrong with the file as a whole, where that says more. */
function* lineRows(
  pieces: Iterable<string>,
  { problems, whole }: {
    readonly problems: Problems;
    readonly whole: () => Problem | null;
  },
): Generator<Located> {
  let isFirst = true;
  for (const { line: start, lines } of lineBlocks(pieces, problems)) {
    for (const [index, text] of lines.entries()) {
      if (problems.areEnough) return;
      if (text.trim() === "") continue;
      const line = start + index;
      const found = parsed(text);
      if ("value" in found) yield { line, value: found.value };
      else {
        const problem = isFirst ? whole() : null;
        problems.add(problem ?? syntaxProblem(found.error, { line, text }));
        if (problem !== null) return;
      }
      isFirst = false;
    }
  }
}

type Parsed = { readonly value: unknown } | { readonly error: unknown };

function parsed(text: string): Parsed {
  try {
    return { value: parseJson(text) };
  } catch (error) {
    return { error };
  }
}

/** One object spread over lines gets one problem instead of one a line. */
function oneObject(pieces: Iterable<string>): Problem | null {
  const all: string[] = [];
  let length = 0;
  for (const piece of pieces) {
    length += piece.length;
    if (length > LONGEST_OBJECT) return null;
    all.push(piece);
  }
  return "error" in parsed(all.join("")) ? null : {
    line: 1,
    what:
      "the file is one JSON object over several lines, write each row on one line or all rows as a JSON array",
  };
}

/** The elements of an array up to the first that is not JSON. */
function* arrayRows(
  pieces: Iterable<string>,
  problems: Problems,
): Generator<Located> {
  for (const element of arrayElements(pieces, problems)) {
    if (problems.areEnough) return;
    const found = parsed(element.text);
    if ("error" in found || element.end.character === null) {
      return problems.add(elementProblem(element, found));
    }
    yield { line: element.line, value: found.value };
  }
}

/** What is wrong with an element, by its place in the file. */
function elementProblem(
  { line, column, text, end: { character, ...end } }: ArrayElement,
  found: Parsed,
): Problem {
  if (!("error" in found) || isCutOff(found.error)) {
    return {
      ...end,
      what: `the line is not JSON, unexpected ${
        character === null ? "end of JSON input" : `token '${character}'`
      }`,
    };
  }
  const problem = syntaxProblem(found.error, { line: 1, text });
  const what = problem.what.replace(
    /unexpected non-whitespace character after JSON$/,
    "expected ',' or ']' after array element",
  );
  return problem.column === undefined ? { line, what } : {
    line: line + problem.line - 1,
    column: problem.line === 1 ? column + problem.column - 1 : problem.column,
    what,
  };
}

/** Whether the text is only the beginning of a value. */
function isCutOff(error: unknown): boolean {
  return error instanceof Error && error.message.includes("end of JSON");
}

/** V8 tells the place in some messages, from the line that the text begins on. */
function syntaxProblem(
  error: unknown,
  { line, text }: { readonly line: number; readonly text: string },
): Problem {
  const message = error instanceof Error ? error.message : String(error);
  const place = /\(line (\d+) column (\d+)\)/.exec(message);
  const reason = message
    .replace(/(?: in JSON)? at position \d+.*$/s, "")
    .replace(/, (?:\.\.\.)?".*is not valid JSON$/s, "");
  const what = `the line is not JSON, ${lowerFirst(reason)}`;
  if (place) {
    return {
      line: line + Number(place[1]) - 1,
      column: Number(place[2]),
      what,
    };
  }
  return isCutOff(error)
    ? { line, column: text.trimEnd().length + 1, what }
    : { line, what };
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}
