/**
 * Reads a file of rows into the features for training: examples, messages, prompt
 * format, ids and labels, with counts. Refuses a file in which no answer would be
 * trained.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import type { Feature } from "./batch.ts";
import { chooseFormat, type StoredFormat } from "./choose_format.ts";
import {
  type Preflight,
  type PreparedRow,
  type RowLimit,
  selectRows,
} from "./preflight.ts";
import {
  type FormatTokenizer,
  type PromptFormat,
  promptFormat,
  type TrainingRow,
} from "./prompt_format.ts";
import { type Example, readExamples } from "./read_examples.ts";

/** What is needed of a model's config.json. */
export interface EosConfig {
  /** Id that ends an answer; when there are several, the first. */
  readonly eos_token_id: number | readonly number[];
}

/** Options of {@linkcode loadDataset}. */
export interface DatasetOptions extends RowLimit {
  /** Turns text into ids. */
  readonly tokenizer: FormatTokenizer;
  /** The model's config. */
  readonly config: EosConfig;
  /**
   * Name of a registered prompt format, or "auto": `storedFormat` where there is
   * one; else `recipe` for instruction rows where the model has no chat template
   * or one with the recipe's own frame, and the model's template (`chat`)
   * otherwise. Default "auto", as for `deno task train`; a program whose rows must
   * stay as they are when the model gets a chat template names the format.
   */
  readonly promptFormat?: string;
  /** The prompt format of the adapter that is trained further. */
  readonly storedFormat?: StoredFormat | null;
  /** Name of the rows' shape. Default "auto": the keys of the first row tell. */
  readonly shape?: string;
  /**
   * What counts in the loss: the `last` answer of each row, `all` its answers, or
   * `everything` that is said. Default "all".
   */
  readonly trainOn?: TrainOn;
}

/** What counts in the loss, see {@linkcode DatasetOptions}. */
export type TrainOn = "last" | "all" | "everything";

/** Features for training, with their counts. */
export interface Dataset {
  /** The encoded rows, in the order of the file. */
  readonly features: readonly Feature[];
  /** Counts of rows and tokens. */
  readonly preflight: Preflight;
  /** The prompt format of the rows, in which questions are asked too. */
  readonly promptFormat: PromptFormat;
  /** A question from the rows: the first short one. */
  readonly question: string;
  /** The rows' shape, their prompt format and why it is that, as one line. */
  readonly description: string;
}

const ROWS_AT_A_TIME = 1024;
const SHORT_QUESTION = 100;
/** The most characters of a text that a model is asked to go on with. */
const BEGINNING = 40;

/**
 * Reads, checks, encodes and counts the rows of `path`.
 *
 * @example
 * ```ts
 * import { AutoTokenizer, loadDataset } from "@lorikeet/lorikeet";
 * import { strict as assert } from "node:assert";
 *
 * const tokenizer = await AutoTokenizer.fromPretrained(
 *   "tests/fixtures/data/legacy",
 * );
 * const { features, preflight, question } = await loadDataset(
 *   "tests/fixtures/data/rows.jsonl",
 *   { tokenizer, config: { eos_token_id: 2 }, maxSeqLength: 64 },
 * );
 * assert.equal(features.length, preflight.rows);
 * assert.equal(question, "你是谁？");
 * ```
 *
 * @throws {InputError} when rows are wrong, all rows are skipped, or no row has
 *   any token of its answer left.
 */
export async function loadDataset(
  path: string,
  options: DatasetOptions,
): Promise<Dataset> {
  const { maxSeqLength, skipOverlength = false } = options;
  if (!Number.isSafeInteger(maxSeqLength) || maxSeqLength < 1) {
    throw new InputError(
      `Cannot use max_seq_length ${maxSeqLength}: it must be a whole number from 1`,
    );
  }
  const { tokenizer, trainOn = "all" } = options;
  const examples = readExamples(path, { shape: options.shape ?? "auto" })
    .map((example) => trainOn === "last" ? trainsLast(example) : example);
  const { promptFormat: asked = "auto", storedFormat: stored = null } = options;
  const choice = chooseFormat(asked, {
    shapes: new Set(examples.map(({ shape }) => shape)),
    chatTemplate: tokenizer.chatTemplate ?? null,
    stored,
  });
  const made = {
    tokenizer,
    chatTemplate: asked === "auto" ? stored?.chatTemplate ?? null : null,
    eosTokenId: eosTokenId(options.config),
    system: commonSystem(examples),
  };
  const format = await promptFormat(choice.name, made);
  const rows = await encode(examples, { format, maxSeqLength, trainOn });
  const { features, preflight } = selectRows(rows, {
    maxSeqLength,
    skipOverlength,
  });
  if (preflight.answerTokens === 0) {
    throw new InputError(
      await nothingToLearn(path, { examples, format, options }),
    );
  }
  return {
    features,
    preflight,
    promptFormat: format,
    question: firstQuestion(examples),
    description: `${path}: ${
      examples[0]!.shape
    } rows, prompt format ${choice.name} (${choice.why})`,
  };
}

/** `example` with its last answer as the only one that is trained. */
function trainsLast(example: Example): Example {
  const last = example.messages.findLastIndex(({ trained }) => trained);
  const messages = example.messages.map((message, at) => ({
    ...message,
    trained: at === last,
  }));
  return { ...example, messages };
}

interface EncodeSettings {
  readonly format: PromptFormat;
  readonly maxSeqLength: number;
  readonly trainOn: TrainOn;
}

/** Encodes many rows at a time, which uses all cores, but not all rows at once. */
async function encode(
  examples: readonly Example[],
  { format, maxSeqLength, trainOn }: EncodeSettings,
): Promise<PreparedRow[]> {
  const rows: PreparedRow[] = [];
  for (let start = 0; start < examples.length; start += ROWS_AT_A_TIME) {
    const part = examples.slice(start, start + ROWS_AT_A_TIME);
    const encoded = await format.encode(part, maxSeqLength);
    for (const [index, row] of encoded.entries()) {
      const labels = trainOn === "everything" ? row.input_ids : row.labels;
      const emptyAnswer = isEmptyAnswer(part[index]!);
      rows.push({ ...row, labels, emptyAnswer });
    }
  }
  return rows;
}

function isEmptyAnswer({ messages }: TrainingRow): boolean {
  return messages.every(({ trained, content }) => !trained || content === "");
}

/**
 * The instruction for a single question: the system message of most rows. `null`
 * when most rows have none, and empty when rows have messages of their own.
 */
function commonSystem(examples: readonly Example[]): string | null {
  const counts = new Map<string | null, number>([[null, 0]]);
  for (const { messages } of examples) {
    const system = messages.find(({ role }) => role === "system")?.content ??
      null;
    counts.set(system, (counts.get(system) ?? 0) + 1);
  }
  const [common, count] = [...counts].reduce((best, each) =>
    each[1] > best[1] ? each : best
  );
  return common === null || 2 * count > examples.length ? common : "";
}

/** The first question that is one short line, else the first one; for texts, the beginning of one. */
function firstQuestion(examples: readonly Example[]): string {
  const questions = examples.map(({ messages, isText }) =>
    isText
      ? beginning(messages[0]!.content)
      : messages.find(({ role }) => role === "user")?.content ?? ""
  );
  const short = questions.find((question) =>
    question.trim() !== "" && question.length <= SHORT_QUESTION &&
    !question.includes("\n")
  );
  return short ?? questions[0] ?? "";
}

/** The first words of a text: at most half of it. */
function beginning(text: string): string {
  const characters = [...text.trimStart().split("\n")[0]!];
  const count = Math.min(BEGINNING, Math.ceil(characters.length / 2));
  const part = characters.slice(0, count).join("");
  const word = part.lastIndexOf(" ");
  return word > 0 ? part.slice(0, word) : part;
}

/**
 * The error for a file from which nothing is learned, with the limit that would
 * be needed.
 */
async function nothingToLearn(
  path: string,
  { examples, format, options }: {
    examples: readonly Example[];
    format: PromptFormat;
    options: DatasetOptions;
  },
): Promise<string> {
  const answered = examples.filter((row) => !isEmptyAnswer(row));
  const start = `Cannot train on ${quoted(path)}:`;
  if (answered.length === 0) {
    return `${start} every answer is empty, answers with text are needed`;
  }
  const rows = await encode(answered, {
    format,
    maxSeqLength: Infinity,
    trainOn: "all",
  });
  const needed = rows.map(({ length }) => length);
  const shortest = needed.reduce((a, b) => Math.min(a, b), Infinity);
  const longest = needed.reduce((a, b) => Math.max(a, b), 0);
  return `${start} no row has any of its answer left at max_seq_length ${options.maxSeqLength}${
    options.skipOverlength ? " with skip_overlength" : ""
  }, the shortest row needs ${shortest} and all rows need ${longest}`;
}

function eosTokenId({ eos_token_id }: EosConfig): number {
  const id = typeof eos_token_id === "number" ? eos_token_id : eos_token_id[0];
  if (id !== undefined) return id;
  throw new InputError(
    "Cannot end the answers of the rows: config.json names no eos_token_id, " +
      "the id of the token that ends an answer is needed there",
  );
}
