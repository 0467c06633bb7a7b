/**
 * Prompt formats: how the messages of a row become ids and labels, and how a
 * question is asked in the same form. A format is an entry in a table, by name;
 * it determines the text, the special tokens, what is trained, and what is cut
 * off.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import type { EncodeOptions, OffsetEncoding } from "../tokenizer/encoding.ts";
import type { ChatMessage } from "../tokenizer/chat_template.ts";
import type { Feature } from "./batch.ts";
import { CHAT } from "./chat_format.ts";
import { NAMED_FORMATS } from "./named_formats.ts";
import { RECIPE } from "./recipe_format.ts";

/** A message of a row for training. */
export interface Message extends ChatMessage {
  /** Whether it is trained; otherwise it is only part of the prompt. */
  readonly trained: boolean;
  /** Where the row has no text there, as beside a call of a tool; then `content` is empty. */
  readonly contentIs?: "null" | "missing";
}

/** The messages of a row for training. */
export interface TrainingRow {
  /** The messages in their order. */
  readonly messages: readonly Message[];
  /** The tools that the assistant may call, as chat templates take them. */
  readonly tools?: readonly unknown[];
  /** Whether it is a text without turns; its one message is the text. */
  readonly isText?: boolean;
  /** The row's file and line, for errors. */
  readonly place?: string;
}

/** A row encoded by a {@linkcode PromptFormat}, cut to the limit. */
export interface EncodedRow extends Feature {
  /** Number of ids before cutting. */
  readonly length: number;
  /** Number of answer ids that are left, without those that end an answer. */
  readonly answerTokens: number;
  /**
   * What the limit has cut off from the trained answers: nothing, only what ends
   * the last one, the end of its text as well, or all of them.
   */
  readonly cut: "nothing" | "ending" | "end" | "answers";
}

/** A prompt format for one tokenizer. */
export interface PromptFormat {
  /** Its registered name. */
  readonly name: string;
  /**
   * The Jinja template that spells questions as in training. It is stored with
   * the adapter as `chat_template.jinja`. Its text is encoded without adding
   * special tokens, so it contains them.
   */
  readonly chatTemplate: string;
  /**
   * The rows that `row` is encoded as, where it is not one sequence of tokens: the
   * conversation up to each trained answer, with that answer trained. Default:
   * `row` alone.
   */
  divided?(row: TrainingRow): readonly TrainingRow[];
  /** Ids and labels of rows, in their order, at most `maxSeqLength` ids each. */
  encode(
    rows: readonly TrainingRow[],
    maxSeqLength: number,
  ): Promise<EncodedRow[]>;
}

/** What a format needs of a tokenizer. */
export interface FormatTokenizer {
  /** Id of the token at the start of a text. */
  readonly bosTokenId: number | null;
  /** Id of the token at the end of a text. */
  readonly eosTokenId: number | null;
  /** Ids of several texts, in their order. */
  encodeBatch(
    texts: readonly string[],
    options: EncodeOptions,
  ): Promise<number[][]>;
  /** The model's own Jinja template; only the format `chat` asks for what follows. */
  readonly chatTemplate?: string | null;
  /** Special tokens by the names that chat templates use. */
  readonly specialTokens?: Readonly<Record<string, string>>;
  /** Ids of many texts with their places, without added special tokens. */
  encodeWithOffsets?(texts: readonly string[]): Promise<OffsetEncoding[]>;
}

/** What a {@linkcode PromptFormat} is made from. */
export interface PromptFormatOptions {
  /** Turns text into ids. */
  readonly tokenizer: FormatTokenizer;
  /** Id that ends an answer, from the model's config. */
  readonly eosTokenId: number;
  /**
   * The system message for questions without one; `null` asks such questions
   * without a system message.
   */
  readonly system: string | null;
  /** For the format `chat`, a template in place of the tokenizer's own. */
  readonly chatTemplate?: string | null;
}

/** An entry in the table of prompt formats. */
export interface PromptFormatEntry {
  /** The name by which it is selected. */
  readonly name: string;
  /** Makes the format for a tokenizer. */
  create(options: PromptFormatOptions): Promise<PromptFormat>;
}

const FORMATS = new Map<string, PromptFormatEntry>(
  [RECIPE, CHAT, ...NAMED_FORMATS].map((entry) => [entry.name, entry]),
);

const BUILT_IN: ReadonlySet<string> = new Set(FORMATS.keys());

/** Whether the format is one of lorikeet's own, not one that a program has registered. */
export function isBuiltInFormat(name: string): boolean {
  return BUILT_IN.has(name);
}

/**
 * Adds a prompt format that can then be selected by name.
 *
 * @example
 * ```ts
 * import { registerPromptFormat } from "@lorikeet/lorikeet";
 * import { turnFormat } from "@lorikeet/lorikeet/data";
 *
 * registerPromptFormat(turnFormat({
 *   name: "plain",
 *   user: ["Question: ", { place: "content" }, "\n"],
 *   assistant: "Answer: ",
 * }));
 * ```
 *
 * @throws {RangeError} when the name is taken.
 */
export function registerPromptFormat(entry: PromptFormatEntry): void {
  if (FORMATS.has(entry.name)) {
    throw new RangeError(
      `Cannot register prompt format ${quoted(entry.name)}: the name is taken`,
    );
  }
  FORMATS.set(entry.name, entry);
}

/** The names that can be chosen: "auto", then those of all registered formats. */
export function promptFormatNames(): string[] {
  return ["auto", ...FORMATS.keys()];
}

/**
 * Makes the prompt format registered as `name`, for one tokenizer.
 *
 * @throws {InputError} when there is no such format.
 */
export function promptFormat(
  name: string,
  options: PromptFormatOptions,
): Promise<PromptFormat> {
  const entry = FORMATS.get(name);
  if (entry !== undefined) return entry.create(options);
  throw new InputError(
    `Cannot use prompt format ${
      quoted(name)
    }: there is none of that name, known are ${promptFormatNames().join(", ")}`,
  );
}
