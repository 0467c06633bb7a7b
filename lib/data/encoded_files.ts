/**
 * The rows of files, encoded: their prompt format is chosen, each row becomes ids
 * and labels. Files of texts may stand beside files of turns.
 *
 * @module
 */

import { InputError } from "../input_error.ts";
import {
  chooseFormat,
  type FormatChoice,
  type StoredFormat,
} from "./choose_format.ts";
import { trainedTokens } from "./batch.ts";
import { TEXT_FORMAT } from "./named_formats.ts";
import type { PreparedRow } from "./preflight.ts";
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

/** What counts in the loss, see {@linkcode EncodingOptions}. */
export type TrainOn = "last" | "all" | "everything";

/** How rows become ids. */
export interface EncodingOptions {
  /** Turns text into ids. */
  readonly tokenizer: FormatTokenizer;
  /** The model's config. */
  readonly config: EosConfig;
  /** Longest row in ids. */
  readonly maxSeqLength: number;
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
  /**
   * Name of the rows' shape. Default "auto": the keys of each file's first row
   * tell.
   */
  readonly shape?: string;
  /**
   * What counts in the loss: the `last` answer of each row, `all` its answers, or
   * `everything` that is said. Default "all".
   */
  readonly trainOn?: TrainOn;
}

/** The rows of one file. */
export interface EncodedFile {
  /** Name of their shape. */
  readonly shape: string;
  /** Number of rows in the file. */
  readonly read: number;
  /** The sequences that they are encoded as, in their order: one a row for most formats. */
  readonly rows: readonly PreparedRow[];
}

/** The rows of several files, and what they have in common. */
export interface EncodedFiles {
  /** The files, in their order. */
  readonly files: readonly EncodedFile[];
  /** The prompt format of all that are not texts. */
  readonly choice: FormatChoice;
  /** The system message of most rows, see `PromptFormatOptions`. */
  readonly system: string | null;
  /** A question from the rows: the first short one. */
  readonly question: string;
}

/**
 * Reads and encodes the rows of the files at `paths`.
 *
 * @throws {InputError} naming everything that is wrong in the files.
 */
export async function encodeFiles(
  paths: readonly string[],
  options: EncodingOptions,
): Promise<EncodedFiles> {
  const read = readFiles(paths, options);
  const turns = read.filter(({ shape }) => shape !== "text");
  const told = turns.length > 0 ? turns : read;
  const examples = told.flatMap((file) => file.examples);
  const choice = chosenFormat(told.map(({ shape }) => shape), options);
  const system = commonSystem(examples);
  const format = await formatOf(choice.name, { system, options });
  const texts = turns.length > 0 && turns.length < read.length
    ? await formatOf(TEXT_FORMAT, { system, options })
    : format;
  const files: EncodedFile[] = [];
  for (const { shape, examples } of read) {
    const spelled = shape === "text" ? texts : format;
    files.push({
      shape,
      read: examples.length,
      rows: await encode(examples, { format: spelled, ...options }),
    });
  }
  return { files, choice, system, question: firstQuestion(examples) };
}

/** The prompt format called `name` for rows whose common system message is `system`. */
export function formatOf(
  name: string,
  { system, options }: {
    readonly system: string | null;
    readonly options: EncodingOptions;
  },
): Promise<PromptFormat> {
  const { tokenizer, config, promptFormat: asked = "auto" } = options;
  return promptFormat(name, {
    tokenizer,
    eosTokenId: eosTokenId(config),
    system,
    chatTemplate: asked === "auto"
      ? options.storedFormat?.chatTemplate ?? null
      : null,
  });
}

/** Lengths that rows have where nothing is cut; rows whose answers are all empty are left out. */
export async function uncutLengths(
  paths: readonly string[],
  options: EncodingOptions,
): Promise<number[]> {
  const uncut = { ...options, maxSeqLength: Infinity, trainOn: "all" } as const;
  const { files } = await encodeFiles(paths, uncut);
  return files.flatMap(({ rows }) =>
    rows.filter(({ emptyAnswer }) => !emptyAnswer).map(({ length }) => length)
  );
}

interface ReadFile {
  readonly shape: string;
  readonly examples: readonly Example[];
}

function readFiles(
  paths: readonly string[],
  { shape = "auto", trainOn = "all" }: EncodingOptions,
): ReadFile[] {
  const problems: string[] = [];
  const files: ReadFile[] = [];
  for (const path of paths) {
    try {
      const examples = readExamples(path, { shape })
        .map((example) => trainOn === "last" ? trainsLast(example) : example);
      files.push({ shape: examples[0]!.shape, examples });
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      problems.push(error.message);
    }
  }
  if (problems.length > 0) throw new InputError(problems.join("\n"));
  return files;
}

function chosenFormat(
  shapes: readonly string[],
  options: EncodingOptions,
): FormatChoice {
  return chooseFormat(options.promptFormat ?? "auto", {
    shapes: new Set(shapes),
    chatTemplate: options.tokenizer.chatTemplate ?? null,
    stored: options.storedFormat ?? null,
  });
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

const ROWS_AT_A_TIME = 1024;

/** Encodes many rows at a time, which uses all cores, but not all rows at once. */
async function encode(
  examples: readonly Example[],
  { format, maxSeqLength, trainOn }:
    & { readonly format: PromptFormat }
    & EncodingOptions,
): Promise<PreparedRow[]> {
  const rows: PreparedRow[] = [];
  for (let start = 0; start < examples.length; start += ROWS_AT_A_TIME) {
    const part = examples.slice(start, start + ROWS_AT_A_TIME)
      .flatMap((row) => sequencesOf(row, { format, trainOn }));
    const encoded = await format.encode(part, maxSeqLength);
    for (const [index, row] of encoded.entries()) {
      const labels = trainOn === "everything" ? row.input_ids : row.labels;
      const labelled = { ...row, labels };
      rows.push({
        ...labelled,
        trainedTokens: trainedTokens(labelled),
        emptyAnswer: isEmptyAnswer(part[index]!),
      });
    }
  }
  return rows;
}

function sequencesOf(
  row: TrainingRow,
  { format, trainOn }: {
    readonly format: PromptFormat;
    readonly trainOn: TrainOn | undefined;
  },
): readonly TrainingRow[] {
  const sequences = format.divided?.(row) ?? [row];
  // where all is trained, the conversation up to its end has all of it
  return trainOn === "everything" ? sequences.slice(-1) : sequences;
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

const SHORT_QUESTION = 100;
/** The most characters of a text that a model is asked to go on with. */
const BEGINNING = 40;

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

function eosTokenId({ eos_token_id }: EosConfig): number {
  const id = typeof eos_token_id === "number" ? eos_token_id : eos_token_id[0];
  if (id !== undefined) return id;
  throw new InputError(
    "Cannot end the answers of the rows: config.json names no eos_token_id, " +
      "the id of the token that ends an answer is needed there",
  );
}
