/**
 * Prompt formats: how the messages of a row become ids and labels, and how a
 * question is asked in the same words. A format is one entry of a table by name;
 * it owns the text, the special tokens, what is trained, and what is cut off.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import type { EncodeOptions } from "../tokenizer/auto_tokenizer.ts";
import type { ChatMessage } from "../tokenizer/chat_template.ts";
import type { Feature } from "./batch.ts";
import { RECIPE } from "./recipe_format.ts";

/** What somebody says in a row to train on. */
export interface Message extends ChatMessage {
  /** Whether it is learned; otherwise it only stands before what is. */
  readonly trained: boolean;
}

/** A row as a {@linkcode PromptFormat} encodes it, cut to the limit. */
export interface EncodedRow extends Feature {
  /** Number of ids before the end was cut off. */
  readonly length: number;
  /** Number of answer ids that are left, without the ids that end an answer. */
  readonly answerTokens: number;
  /**
   * What the limit took from the trained answers: nothing, only what ends the last
   * one, the end of its text too, or all of them.
   */
  readonly cut: "nothing" | "ending" | "end" | "answers";
}

/** A way to spell conversations, for one tokenizer. */
export interface PromptFormat {
  /** The name it is registered by. */
  readonly name: string;
  /**
   * The Jinja template that spells questions as training does. It is stored with
   * the adapter as `chat_template.jinja`; its text is encoded without adding
   * special tokens, so it spells those as well.
   */
  readonly chatTemplate: string;
  /** Ids and labels of conversations, in their order, of at most `maxSeqLength` ids each. */
  encode(
    conversations: readonly (readonly Message[])[],
    maxSeqLength: number,
  ): Promise<EncodedRow[]>;
}

/** What a format needs of a tokenizer. */
export interface FormatTokenizer {
  /** Id of the token that begins a text. */
  readonly bosTokenId: number | null;
  /** Id of the token that ends a text. */
  readonly eosTokenId: number | null;
  /** Ids of many texts, in their order. */
  encodeBatch(
    texts: readonly string[],
    options: EncodeOptions,
  ): Promise<number[][]>;
}

/** What a {@linkcode PromptFormat} is made for. */
export interface PromptFormatOptions {
  /** Turns text into ids. */
  readonly tokenizer: FormatTokenizer;
  /** Id that ends an answer, from the model's config. */
  readonly eosTokenId: number;
  /**
   * The system message of questions that come without one; `null` asks such a
   * question by itself.
   */
  readonly system: string | null;
}

/** An entry of the table of prompt formats. */
export interface PromptFormatEntry {
  /** The name by which it is chosen. */
  readonly name: string;
  /** Makes the format for a tokenizer. */
  create(options: PromptFormatOptions): Promise<PromptFormat>;
}

const FORMATS = new Map<string, PromptFormatEntry>([[RECIPE.name, RECIPE]]);

/**
 * Adds a prompt format to those that can be chosen by name.
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
    }: there is none of that name, known are ${[...FORMATS.keys()].join(", ")}`,
  );
}
