/**
 * Rows to token ids exactly as the recipe does it: its prompt text with the
 * second BOS, its order of truncation, its EOS. It pads and masks nothing.
 *
 * @module
 */

import type { EncodeOptions } from "../tokenizer/auto_tokenizer.ts";
import { type Feature, IGNORED_LABEL } from "./batch.ts";
import { readRows, type Row } from "./jsonl.ts";

/** What is needed of a tokenizer to prepare rows. */
export interface Encoder {
  /** Ids of many texts, in their order. */
  encodeBatch(
    texts: readonly string[],
    options: EncodeOptions,
  ): Promise<number[][]>;
}

/** What is needed of a model's config.json. */
export interface EosConfig {
  /** Id that ends an answer; the first one counts where there are several. */
  readonly eos_token_id: number | readonly number[];
}

/** One prepared row, not cut yet. */
export interface EncodedRow {
  /** Ids of prompt, answer and EOS; trained from the last id of the prompt on. */
  readonly feature: Feature;
  /** Number of ids of the prompt. */
  readonly promptLength: number;
}

/** Options of {@linkcode preprocess}. */
export interface PreprocessOptions {
  /** Turns text into ids. */
  readonly tokenizer: Encoder;
  /** The model's config. */
  readonly config: EosConfig;
  /** Longest prompt, and longest answer, in ids. */
  readonly maxSeqLength: number;
}

/** Options of {@linkcode readJsonl}. */
export interface ReadJsonlOptions extends PreprocessOptions {
  /** Leaves out rows that are too long instead of cutting them. Default false. */
  readonly skipOverlength?: boolean;
}

/** The texts of a row. */
export type Example = Pick<Row, "instruction" | "input" | "output">;

/**
 * The recipe's prompt. The tokenizer puts one more BOS before its `<s>`.
 *
 * @returns `<s>Human: …请回答用户问题: …\n</s><s>Assistant:`
 *
 * @example
 * ```ts
 * import { promptOf } from "@lorikeet/lorikeet";
 *
 * const prompt = promptOf({ instruction: "回答", input: "你是谁？" });
 * if (prompt !== "<s>Human: 回答请回答用户问题: 你是谁？\n</s><s>Assistant:") {
 *   throw new Error(prompt);
 * }
 * ```
 */
export function promptOf(example: Omit<Example, "output">): string {
  return `<s>Human: ${example.instruction}请回答用户问题: ${example.input}\n</s><s>Assistant:`;
}

/**
 * The recipe's `preprocess`: prompt and answer are each cut to `maxSeqLength`,
 * then joined and ended with EOS, so the result may be longer than that.
 *
 * @example
 * ```ts
 * import { AutoTokenizer, preprocess } from "@lorikeet/lorikeet";
 * import { strict as assert } from "node:assert";
 *
 * const tokenizer = await AutoTokenizer.fromPretrained(
 *   "tests/fixtures/data/legacy",
 * );
 * const example = { instruction: "回答", input: "1+1等于几?", output: "2" };
 * const config = { eos_token_id: 2 };
 * const feature = await preprocess(example, {
 *   tokenizer,
 *   config,
 *   maxSeqLength: 256,
 * });
 * assert.deepEqual(feature.input_ids.slice(0, 2), [1, 1]);
 * assert.equal(feature.input_ids.at(-1), 2);
 * ```
 */
export async function preprocess(
  example: Example,
  options: PreprocessOptions,
): Promise<Feature> {
  const [feature] = await preprocessBatch([example], options);
  return feature!;
}

/** {@linkcode preprocess} for many rows, in their order and on all cores. */
export async function preprocessBatch(
  examples: readonly Example[],
  options: PreprocessOptions,
): Promise<Feature[]> {
  const rows = await encodeRows(examples, options);
  return rows.map(({ feature }) => feature);
}

/** {@linkcode preprocessBatch}, with the length of each prompt. */
export async function encodeRows(
  examples: readonly Example[],
  options: PreprocessOptions,
): Promise<EncodedRow[]> {
  const { tokenizer, maxSeqLength: maxLength } = options;
  const prompts = await tokenizer.encodeBatch(examples.map(promptOf), {
    maxLength,
  });
  const targets = await tokenizer.encodeBatch(
    examples.map(({ output }) => output),
    { maxLength, addSpecialTokens: false },
  );
  const eos = eosTokenId(options.config);
  return prompts.map((prompt, index) => {
    const input_ids = [...prompt, ...targets[index]!, eos];
    // The recipe's `[-100]*(seq_len-1) + ids[seq_len-1:]`: one id early.
    const labels = input_ids.map((id, at) =>
      at < prompt.length - 1 ? IGNORED_LABEL : id
    );
    return { feature: { input_ids, labels }, promptLength: prompt.length };
  });
}

/**
 * The recipe's `read_jsonl`: reads the whole file, then prepares row by row.
 * `loadDataset` gives the same features, faster.
 *
 * @example
 * ```ts
 * import { AutoTokenizer, readJsonl } from "@lorikeet/lorikeet";
 * import { strict as assert } from "node:assert";
 *
 * const tokenizer = await AutoTokenizer.fromPretrained(
 *   "tests/fixtures/data/legacy",
 * );
 * const features = readJsonl("tests/fixtures/data/rows.jsonl", {
 *   tokenizer,
 *   config: { eos_token_id: 2 },
 *   maxSeqLength: 24,
 * });
 * for await (const { input_ids } of features) assert(input_ids.length <= 24);
 * ```
 *
 * @throws {InputError} naming file and line of everything that is wrong.
 */
export async function* readJsonl(
  path: string,
  options: ReadJsonlOptions,
): AsyncGenerator<Feature> {
  for (const row of readRows(path)) {
    const feature = await preprocess(row, options);
    const { length } = feature.input_ids;
    if (options.skipOverlength && length > options.maxSeqLength) continue;
    yield cutFeature(feature, options.maxSeqLength);
  }
}

/** `input_ids[:max_seq_length]`, and the labels with them. */
export function cutFeature(feature: Feature, maxSeqLength: number): Feature {
  return feature.input_ids.length <= maxSeqLength ? feature : {
    input_ids: feature.input_ids.slice(0, maxSeqLength),
    labels: feature.labels.slice(0, maxSeqLength),
  };
}

function eosTokenId({ eos_token_id }: EosConfig): number {
  const id = typeof eos_token_id === "number" ? eos_token_id : eos_token_id[0];
  if (id !== undefined) return id;
  throw new TypeError(
    "Cannot end a row: config.eos_token_id is an empty list, an id is needed",
  );
}
