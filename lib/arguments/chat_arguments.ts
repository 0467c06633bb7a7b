/**
 * The arguments of `deno task chat`: which model and adapter answer, and how the
 * next token is chosen.
 *
 * @module
 */
import type { HelpSection } from "./help_layout.ts";
import {
  type HelpRequest,
  HfArgumentParser,
  throwProblems,
} from "./hf_argument_parser.ts";
import {
  deviceProblems,
  MODEL_SETTINGS,
  pathProblems,
} from "./model_settings.ts";
import { OTHER_CHAT_NAMES } from "./other_names.ts";
import type { SettingsOf, SettingsTable } from "./setting.ts";

/** Settings of `deno task chat`. */
export const CHAT = {
  ...MODEL_SETTINGS,
  adapter: {
    kind: "str",
    default: null,
    isPath: true,
    help: "Folder of the adapter. It is used with its own base model, unless " +
      "--model_path names another; none: the base model alone",
  },
  prompt: {
    kind: "str",
    default: null,
    help: "Answer this one question and exit",
  },
  instruction: {
    kind: "str",
    default: null,
    help: "Instruction (system message) put before every question",
  },
  history: {
    kind: "bool",
    default: null,
    help: "Put earlier turns before a question; none: only in a model's own " +
      "chat template, with an adapter trained in it too",
  },
  max_new_tokens: {
    kind: "int",
    default: 512,
    help: "Longest answer, in tokens",
  },
  do_sample: {
    kind: "bool",
    default: true,
    help: "Sample the next token; otherwise take the most likely one",
  },
  temperature: {
    kind: "float",
    default: 0.3,
    help: "Sampling: below 1 favours likely tokens",
  },
  top_k: {
    kind: "int",
    default: 50,
    help: "Sampling: only the k most likely tokens; 0 allows all",
  },
  top_p: {
    kind: "float",
    default: 0.95,
    help:
      "Sampling: only the most likely tokens that together have this probability",
  },
  repetition_penalty: {
    kind: "float",
    default: 1.3,
    help: "Above 1 makes tokens that have been used already less likely",
  },
  seed: {
    kind: "int",
    default: 42,
    help: "Sampling: the same seed gives the same answers",
  },
} as const satisfies SettingsTable;

/** The settings of `deno task chat`. */
export type ChatArguments = SettingsOf<typeof CHAT>;

/** The result of {@linkcode parseChatArguments}. */
export interface ChatReading {
  /** Every setting, given or default. */
  readonly chat: ChatArguments;
  /** Names of the settings that were given; the others have their defaults. */
  readonly given: ReadonlySet<string>;
}

const CHAT_SECTIONS: readonly HelpSection[] = [
  {
    title: "Who answers",
    names: ["model_path", "adapter", "torch_dtype", "device"],
  },
  { title: "What is asked", names: ["prompt", "instruction", "history"] },
  {
    title: "How the next token is chosen",
    names: [
      "max_new_tokens",
      "do_sample",
      "temperature",
      "top_k",
      "top_p",
      "repetition_penalty",
      "seed",
    ],
  },
];

/** Options of {@linkcode parseChatArguments}. */
export interface ParseChatOptions {
  /** The command that the user typed. Default "deno task chat". */
  readonly prog?: string;
  /** Columns of the help text. Default 80. */
  readonly columns?: number;
  /**
   * The folder that relative paths in flags are relative to. Default: the
   * working directory.
   */
  readonly folder?: string;
}

/**
 * Parses the arguments of a chat, by the rules of
 * {@linkcode HfArgumentParser}.
 *
 * @throws {InputError} with all problems and exit code 2.
 *
 * @example
 * ```ts
 * import { parseChatArguments } from "@lorikeet/lorikeet/arguments";
 *
 * const parsed = parseChatArguments(["--no_do_sample", "--prompt", "hello"]);
 * if ("help" in parsed) throw new Error("no help was asked for");
 * if (parsed.chat.do_sample) throw new Error("expected greedy answers");
 * ```
 */
export function parseChatArguments(
  args: readonly string[],
  options: ParseChatOptions = {},
): ChatReading | HelpRequest {
  const parser = new HfArgumentParser(
    [{ title: "Other settings", table: CHAT }],
    {
      prog: "deno task chat",
      otherNames: OTHER_CHAT_NAMES,
      sections: CHAT_SECTIONS,
      ...options,
    },
  );
  const reading = parser.read(args);
  if ("help" in reading) return reading;
  const [chat] = reading.dataclasses;
  throwProblems([...reading.problems, ...chatProblems(chat)]);
  return { chat, given: new Set(reading.given.keys()) };
}

function chatProblems(chat: ChatArguments): string[] {
  const { temperature, top_k, top_p, repetition_penalty } = chat;
  const { max_new_tokens, seed } = chat;
  const isPositive = (value: number): boolean => value > 0 && value < Infinity;
  const greedy = "--do_sample false takes the most likely token";
  const checks: readonly [keyof ChatArguments, boolean, string][] = [
    [
      "temperature",
      isPositive(temperature),
      `expected more than 0; ${greedy}`,
    ],
    ["top_k", top_k >= 0, "expected 0 or more"],
    ["top_p", top_p > 0 && top_p <= 1, "expected more than 0 and at most 1"],
    [
      "repetition_penalty",
      isPositive(repetition_penalty),
      "expected more than 0",
    ],
    ["max_new_tokens", max_new_tokens >= 1, "expected 1 or more"],
    ["seed", seed >= 0 && seed < 2 ** 32, "expected 0 to 4294967295"],
  ];
  const wrong = checks.flatMap(([name, legal, expected]) =>
    legal ? [] : [`Cannot use --${name} ${chat[name]}: ${expected}`]
  );
  return [
    ...wrong,
    ...deviceProblems(chat.device),
    ...pathProblems(CHAT, chat),
  ];
}
