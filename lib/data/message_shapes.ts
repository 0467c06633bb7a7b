/**
 * Rows that are conversations: OpenAI's `messages` and ShareGPT's
 * `conversations`, with the order that turns must have.
 *
 * @module
 */

import { quoted } from "../input_error.ts";
import type { Message, TrainingRow } from "./prompt_format.ts";
import type { RowShape } from "./row_shapes.ts";
import {
  isJsonRow,
  type JsonRow,
  kindOf,
  listOf,
  parseJson,
  textProblem,
} from "./row_values.ts";

/** `{ messages: [{ role, content }], tools? }`. */
export const MESSAGES: RowShape = {
  name: "messages",
  needs: '"messages", a list of objects with "role" and "content"',
  recognises: (row) => Object.hasOwn(row, "messages"),
  problems: ({ messages, tools }) => [
    ...messageListProblems(listOf(messages)),
    ...toolsProblems(tools),
  ],
  read: messageList,
};

/** `{ conversations: [{ from, value }], system?, tools? }`. */
export const CONVERSATIONS: RowShape = {
  name: "conversations",
  needs: '"conversations", a list of objects with "from" and "value"',
  recognises: (row) => Object.hasOwn(row, "conversations"),
  problems(row): string[] {
    const found = listProblem("conversations", listOf(row["conversations"]));
    if (found !== null) return [found];
    const turns = listOf(row["conversations"]) as unknown[];
    const problems = turns.flatMap((turn, at) => shareGptProblems(turn, at));
    const roles = turns.map((turn) =>
      SHAREGPT_ROLES[String((turn as JsonRow)?.["from"])] ?? ""
    );
    return [
      ...problems.length > 0 ? problems : orderProblems(roles),
      ...systemProblems(row["system"], roles),
      ...toolsProblems(row["tools"]),
    ];
  },
  read: (row) => ({
    messages: shareGptMessages(row).map(asMessage),
    ...toolsOf(row["tools"]),
  }),
};

/** What a row of messages without problems says. */
export function messageList({ messages, tools }: JsonRow): TrainingRow {
  return {
    messages: (listOf(messages) as JsonRow[]).map(asMessage),
    ...toolsOf(tools),
  };
}

/** Everything that is wrong with a list of messages and their order. */
export function messageListProblems(messages: unknown): string[] {
  const found = listProblem("messages", messages);
  if (found !== null) return [found];
  const turns = messages as unknown[];
  const problems = turns.flatMap((turn, at) => messageProblems(turn, at));
  if (problems.length > 0) return problems;
  return orderProblems(turns.map((turn) => String((turn as JsonRow)["role"])));
}

const ROLES = ["system", "developer", "user", "assistant", "tool"];

const SHAREGPT_ROLES: Readonly<Record<string, string>> = {
  system: "system",
  human: "user",
  user: "user",
  gpt: "assistant",
  chatgpt: "assistant",
  assistant: "assistant",
  function_call: "assistant",
  observation: "tool",
  tool: "tool",
};

function listProblem(key: string, value: unknown): string | null {
  if (!Array.isArray(value)) {
    return value === undefined
      ? `key "${key}" is missing`
      : `"${key}" is ${kindOf(value)}, it must be a list`;
  }
  return value.length > 0
    ? null
    : `"${key}" is empty, a question and an answer are needed`;
}

function messageProblems(turn: unknown, at: number): string[] {
  const start = `turn ${at + 1}`;
  if (!isJsonRow(turn)) return [`${start} is ${kindOf(turn)}, ${TURN_NEEDS}`];
  const { role, content } = turn;
  const problems: string[] = [];
  if (typeof role !== "string" || !ROLES.includes(role)) {
    problems.push(
      `${start} has the role ${shown(role)}, it must be one of ${
        ROLES.join(", ")
      }`,
    );
  }
  const isCall = turn["tool_calls"] !== undefined &&
    turn["tool_calls"] !== null;
  if (isCall && !Array.isArray(turn["tool_calls"])) {
    problems.push(
      `${start}: "tool_calls" is ${kindOf(turn["tool_calls"])}, ` +
        "it must be a list",
    );
  }
  const mayBeMissing = isCall && (content === null || content === undefined);
  const problem = mayBeMissing ? null : contentProblem(content);
  if (problem !== null) problems.push(`${start}: "content" ${problem}`);
  return problems;
}

const TURN_NEEDS = 'it must be an object with "role" and "content"';

/** A text, or a list of parts that are texts. */
function contentProblem(content: unknown): string | null {
  if (!Array.isArray(content)) return textProblem(content);
  const isText = content.every((part) =>
    isJsonRow(part) && part["type"] === "text" &&
    textProblem(part["text"]) === null
  );
  return isText ? null : "has parts that are not texts, only text is trained";
}

function shareGptProblems(turn: unknown, at: number): string[] {
  const start = `turn ${at + 1}`;
  if (!isJsonRow(turn)) {
    return [
      `${start} is ${
        kindOf(turn)
      }, it must be an object with "from" and "value"`,
    ];
  }
  const { from, value } = turn;
  const problems: string[] = [];
  if (typeof from !== "string" || !Object.hasOwn(SHAREGPT_ROLES, from)) {
    problems.push(
      `${start} is from ${shown(from)}, it must be from one of ${
        Object.keys(SHAREGPT_ROLES).join(", ")
      }`,
    );
  }
  const problem = textProblem(value);
  if (problem !== null) problems.push(`${start}: "value" ${problem}`);
  else if (from === "function_call" && calledFunction(value) === null) {
    problems.push(
      `${start}: "value" is not a function call, it must be JSON with "name" and "arguments"`,
    );
  }
  return problems;
}

function shown(value: unknown): string {
  return typeof value === "string" ? quoted(value) : kindOf(value);
}

/** Turns of a ShareGPT row without problems, as messages of OpenAI's form. */
function shareGptMessages(row: JsonRow): JsonRow[] {
  const { system } = row;
  const turns = (listOf(row["conversations"]) as JsonRow[]).map(
    ({ from, value }): JsonRow =>
      from === "function_call"
        ? {
          role: "assistant",
          content: "",
          tool_calls: [{ type: "function", function: calledFunction(value) }],
        }
        : { role: SHAREGPT_ROLES[String(from)], content: value },
  );
  return typeof system === "string" && system !== ""
    ? [{ role: "system", content: system }, ...turns]
    : turns;
}

function systemProblems(system: unknown, roles: readonly string[]): string[] {
  if (system === undefined || system === null || system === "") return [];
  const problem = textProblem(system);
  if (problem !== null) return [`"system" ${problem}`];
  return roles[0] === "system"
    ? ['there are two system texts, the key "system" and turn 1']
    : [];
}

function calledFunction(value: unknown): JsonRow | null {
  try {
    const call = parseJson(String(value));
    return isJsonRow(call) && typeof call["name"] === "string" ? call : null;
  } catch {
    return null;
  }
}

/** Which roles may come after one; "" is the beginning. */
const NEXT: Readonly<Record<string, readonly string[]>> = {
  "": ["system", "user"],
  system: ["user"],
  user: ["assistant"],
  assistant: ["user", "tool"],
  tool: ["tool", "assistant"],
};

/** The first turn out of order, and what is missing at the end. */
function orderProblems(roles: readonly string[]): string[] {
  let before = "";
  for (const [at, given] of roles.entries()) {
    const role = given === "developer" ? "system" : given;
    const allowed = NEXT[before]!;
    if (!allowed.includes(role)) {
      const after = at === 0 ? "at the beginning" : `after ${quoted(before)}`;
      return [
        `turn ${at + 1} is ${quoted(given)} ${after}, it must be ${
          allowed.map((it) => quoted(it)).join(" or ")
        }`,
      ];
    }
    before = role;
  }
  if (!roles.includes("assistant")) {
    return ['no turn is "assistant", an answer to learn is needed'];
  }
  return before === "assistant" ? [] : [
    `turn ${roles.length} is ${
      quoted(before)
    } and the last one, an "assistant" turn must answer it`,
  ];
}

/** A message with all that the template may read of it. */
function asMessage(turn: JsonRow): Message {
  const { role, content, ...more } = turn;
  const text = Array.isArray(content)
    ? content.map((part) => (part as JsonRow)["text"]).join("")
    : content ?? "";
  return {
    ...more,
    role: String(role),
    content: String(text),
    trained: role === "assistant",
    ...content === null ? { contentIs: "null" } : {},
    ...content === undefined ? { contentIs: "missing" } : {},
  };
}

function toolsProblems(tools: unknown): string[] {
  const list = listOf(tools);
  const isMissing = list === undefined || list === null || list === "";
  if (isMissing || (Array.isArray(list) && list.every(isJsonRow))) return [];
  return [`"tools" is ${kindOf(list)}, it must be a list of objects`];
}

function toolsOf(value: unknown): Pick<TrainingRow, "tools"> {
  const tools = listOf(value);
  return Array.isArray(tools) && tools.length > 0 ? { tools } : {};
}
