/**
 * The shapes that training rows come in: which keys they have, what can be wrong
 * with one, and what it says as messages. A shape is one entry of a table. It reads
 * no files.
 *
 * @module
 */

import { closestName } from "../arguments/other_names.ts";
import { InputError, quoted } from "../input_error.ts";
import {
  CONVERSATIONS,
  messageList,
  messageListProblems,
  MESSAGES,
} from "./message_shapes.ts";
import type { Message, TrainingRow } from "./prompt_format.ts";
import { type JsonRow, kindOf, textProblem } from "./row_values.ts";

/** One way to write a row. */
export interface RowShape {
  /** What such rows are called. */
  readonly name: string;
  /** What every row needs, as a sentence ends. */
  readonly needs: string;
  /** Whether `row` is meant to be of this shape. */
  recognises(row: JsonRow): boolean;
  /** Everything that is wrong with `row`. */
  problems(row: JsonRow): string[];
  /** What a row without problems says. */
  read(row: JsonRow): TrainingRow;
}

/**
 * `{ instruction, input?, output }`. With an input, the instruction is the system
 * message and the input the user's; without one, the instruction is the user's.
 */
const INSTRUCTION: RowShape = {
  name: "instruction",
  needs: 'the texts "instruction" and "output", and may have "input"',
  recognises: (row) => Object.hasOwn(row, "instruction"),
  problems: (row) =>
    textProblems(row, ["instruction", "input", "output"], ["input"]),
  read(row): TrainingRow {
    const { instruction, input = "", output } = row as {
      readonly instruction: string;
      readonly input?: string;
      readonly output: string;
    };
    return {
      messages: input === ""
        ? [says("user", instruction), says("assistant", output)]
        : [
          says("system", instruction),
          says("user", input),
          says("assistant", output),
        ],
    };
  },
};

/** `{ prompt, completion }`, texts or lists of messages; only the completion is trained. */
const PROMPT_COMPLETION: RowShape = {
  name: "prompt_completion",
  needs: '"prompt" and "completion", both texts or both lists of messages',
  recognises: (row) =>
    Object.hasOwn(row, "prompt") || Object.hasOwn(row, "completion"),
  problems(row): string[] {
    const { prompt, completion } = row;
    if (!Array.isArray(prompt) || !Array.isArray(completion)) {
      return textProblems(row, ["prompt", "completion"]);
    }
    return completion.length === 0
      ? ['"completion" is empty, an answer to learn is needed']
      : messageListProblems([...prompt, ...completion]);
  },
  read({ prompt, completion, tools }): TrainingRow {
    if (!Array.isArray(prompt) || !Array.isArray(completion)) {
      return {
        messages: [
          says("user", String(prompt)),
          says("assistant", String(completion)),
        ],
      };
    }
    const asked = messageList({ messages: prompt, tools });
    const { messages } = messageList({ messages: completion });
    return {
      ...asked,
      messages: [
        ...asked.messages.map((it) => ({ ...it, trained: false })),
        ...messages,
      ],
    };
  },
};

/** `{ text }`: a text without turns, trained as it stands. */
const TEXT: RowShape = {
  name: "text",
  needs: 'the text "text"',
  recognises: (row) => Object.hasOwn(row, "text"),
  problems: (row) => textProblems(row, ["text"]),
  read: ({ text }) => ({
    messages: [says("assistant", String(text))],
    isText: true,
  }),
};

const SHAPES: readonly RowShape[] = [
  INSTRUCTION,
  MESSAGES,
  CONVERSATIONS,
  PROMPT_COMPLETION,
  TEXT,
];

/**
 * The shape called `name`.
 *
 * @throws {InputError} when there is none.
 */
export function shapeNamed(name: string): RowShape {
  const shape = SHAPES.find((each) => each.name === name);
  if (shape !== undefined) return shape;
  throw new InputError(
    `Cannot read rows of shape ${
      quoted(name)
    }: there is none of that name, known are auto, ${
      SHAPES.map((it) => it.name).join(", ")
    }`,
  );
}

/** The shape that `row` is meant to be of, where its keys tell. */
export function recognisedShape(row: JsonRow): RowShape | undefined {
  return SHAPES.find((shape) => shape.recognises(row));
}

function says(role: "system" | "user" | "assistant", content: string): Message {
  return { role, content, trained: role === "assistant" };
}

/** What is wrong with the texts of `row` that `keys` name; `optional` ones may be missing. */
function textProblems(
  row: JsonRow,
  keys: readonly string[],
  optional: readonly string[] = [],
): string[] {
  return keys.flatMap((key) => {
    const problem = Object.hasOwn(row, key)
      ? textProblem(row[key])
      : missing(row, key, { keys, optional });
    if (problem === null) return [];
    return Object.hasOwn(row, key) ? [`"${key}" ${problem}`] : [problem];
  });
}

/** An optional key may be missing, but not under another spelling. */
function missing(
  row: JsonRow,
  key: string,
  { keys, optional }: {
    readonly keys: readonly string[];
    readonly optional: readonly string[];
  },
): string | null {
  const typo = Object.keys(row).find((name) =>
    !keys.includes(name) &&
    closestName(name.trim().toLowerCase(), keys) === key
  );
  if (typo !== undefined) {
    return `key "${key}" is missing; there is ${
      quoted(typo)
    }, did you mean "${key}"?`;
  }
  return optional.includes(key) ? null : `key "${key}" is missing`;
}

/** The sentence for a row that is of another shape than those before it. */
export function otherShapeProblem(
  row: JsonRow,
  shape: RowShape,
): string | null {
  if (shape.recognises(row)) return null;
  const other = recognisedShape(row);
  return other === undefined
    ? null
    : `the row has the keys of shape ${other.name} (${
      Object.keys(row).slice(0, 5).map((it) => quoted(it)).join(", ")
    }), it must be of shape ${shape.name}`;
}

/** Why a value of a file is not a row. */
export function noRowProblem(value: unknown): string {
  return `the row is ${kindOf(value)}, it must be a JSON object`;
}
