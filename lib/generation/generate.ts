/**
 * Text from a model, one token at a time, as transformers' `generate` does it.
 * Works on ids: prompts are in `chat_prompt.ts`, characters in `TextStream`.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import { InputError, quoted } from "../input_error.ts";
import { KeyValueCache } from "../nn/mod.ts";
import { PeftModel } from "../peft/mod.ts";
import {
  aten,
  empty,
  manualSeed,
  noGrad,
  type Tensor,
  tensor,
  tensorScope,
  to,
  toData,
} from "../tensor/mod.ts";
import {
  argmax,
  processLogits,
  type SamplingOptions,
  samplingProblems,
} from "./sampling.ts";
import { WeightCopies } from "./weight_copies.ts";

/** The default limit on the tokens of an answer. */
export const MAX_NEW_TOKENS = 512;

/**
 * After this many tokens of one row, weights are copied for products of one row: the
 * copies take about as much time as they save in as many tokens.
 */
const TOKENS_BEFORE_COPY = 24;

/** Options of {@linkcode generate}. */
export interface GenerateOptions extends SamplingOptions {
  /** At most this many tokens. Default 512. */
  readonly maxNewTokens?: number;
  /** Tokens that end the text. Default: those of the model's `config.json`. */
  readonly eosTokenIds?: readonly number[];
  /** Seeds PyTorch's random numbers on the model's device. Default: not seeded. */
  readonly seed?: number;
}

/**
 * Continues `promptIds`, and yields each new id as soon as it is known, including
 * the one that ends the text. With the same seed, the ids are those of
 * transformers' `generate` after `torch.manual_seed(seed)`.
 *
 * The model is left unchanged, even when the caller stops early: dropout and the
 * state of a dynamic rotary embedding are restored.
 *
 * @throws {RangeError} when options are invalid.
 * @throws {InputError} when the prompt is empty or has ids outside the
 *   vocabulary, or the model's logits are not finite numbers.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM, generate } from "@lorikeet/lorikeet";
 *
 * using model = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
 * const ids = [...generate(model, [1, 5, 6], { maxNewTokens: 4 })];
 * if (ids.length < 1 || ids.length > 4) throw new Error("unexpected length");
 * ```
 */
export function generate(
  model: CausalLm | PeftModel,
  promptIds: readonly number[],
  options: GenerateOptions = {},
): Generator<number, void, undefined> {
  const base = modelOf(model);
  checkOptions(options);
  checkPrompt(base, promptIds);
  return tokens(base, promptIds, options);
}

/** The model whose layers compute, those of an adapter included. */
export function modelOf(model: CausalLm | PeftModel): CausalLm {
  return model instanceof PeftModel ? model.base : model;
}

function* tokens(
  model: CausalLm,
  promptIds: readonly number[],
  options: GenerateOptions,
): Generator<number, void, undefined> {
  for (const [id] of steps(model, [promptIds], options)) yield id!;
}

/**
 * Continues each of `prompts`, all of them together: each step computes one token
 * of every row, so that the weights are read once for all of them. The new ids of
 * each row are those that {@linkcode generate} gives for its prompt alone, apart
 * from rounding; when sampling, each step draws for all rows at once, as
 * transformers' `generate` does with a batch.
 *
 * @throws {RangeError} when options are invalid.
 * @throws {InputError} when a prompt is empty or has ids outside the vocabulary, or
 *   the model's logits are not finite numbers.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM, generateBatch } from "@lorikeet/lorikeet";
 *
 * using model = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
 * const prompts = [[1, 5, 6], [1, 7]];
 * const answers = generateBatch(model, prompts, { maxNewTokens: 4 });
 * if (answers.length !== 2) throw new Error("unexpected length");
 * ```
 */
export function generateBatch(
  model: CausalLm | PeftModel,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions = {},
): number[][] {
  const base = modelOf(model);
  checkOptions(options);
  for (const ids of prompts) checkPrompt(base, ids);
  if (prompts.length === 0) return [];
  if (!base.continuesRowsTogether) {
    const { seed, ...others } = options;
    if (seed !== undefined) manualSeed(seed, base.device);
    return prompts.map((ids) => [...tokens(base, ids, others)]);
  }
  const answers = prompts.map((): number[] => []);
  for (const ids of steps(base, prompts, options)) {
    ids.forEach((id, row) => {
      if (id !== null) answers[row]!.push(id);
    });
  }
  return answers;
}

/** For each step, the new id of every row; `null` for rows that have ended. */
function* steps(
  model: CausalLm,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): Generator<readonly (number | null)[], void, undefined> {
  const { maxNewTokens = MAX_NEW_TOKENS, seed } = options;
  const ends = new Set(options.eosTokenIds ?? model.config.eosTokenIds);
  using _evaluating = evaluating(model);
  using resources = new DisposableStack();
  if (seed !== undefined) manualSeed(seed, model.device);
  const limit = Math.max(...prompts.map((ids) => ids.length)) + maxNewTokens;
  const freshCache = () => resources.use(new KeyValueCache(limit));
  const copies = resources.use(new WeightCopies(model));
  let { scores, caches } = readPrompts(model, prompts, freshCache);
  const rows = prompts.map((ids) => [...ids]);
  const ended = rows.map(() => false);
  for (let count = 1;; count++) {
    scores.forEach((each, row) => processLogits(each, rows[row]!, options));
    const ids = chooseTokens(model, scores, options.doSample ?? false);
    ids.forEach((id, row) => rows[row]!.push(id));
    yield ids.map((id, row) => ended[row] ? null : id);
    ids.forEach((id, row) => ended[row] ||= ends.has(id));
    if (count === maxNewTokens || ended.every(Boolean)) return;
    if (count === TOKENS_BEFORE_COPY && rows.length === 1) copies.make();
    scores = nextScores(model, ids.map((id) => [id]), caches);
  }
}

/** Prompts of one length are read together where they have at most this many tokens. */
const MOST_READ_TOGETHER = 4096;

/**
 * Logits for the token after each prompt, and caches of all prompts. Prompts of
 * different lengths are read one at a time, without padding; prompts that are the
 * same, once.
 */
function readPrompts(
  model: CausalLm,
  prompts: readonly (readonly number[])[],
  freshCache: () => KeyValueCache,
): { scores: Float32Array[]; caches: readonly KeyValueCache[] } {
  const { decoderLayers: layers } = model;
  if (areReadTogether(prompts)) {
    const caches = layers.map(freshCache);
    return { scores: nextScores(model, prompts, caches), caches };
  }
  using read = new DisposableStack();
  const known = new Map<
    string,
    { scores: Float32Array; caches: readonly KeyValueCache[] }
  >();
  const rows = prompts.map((ids) => {
    const key = ids.join();
    const before = known.get(key);
    if (before !== undefined) return before;
    const caches = layers.map(() => read.use(new KeyValueCache(ids.length)));
    const [scores] = nextScores(model, [ids], caches);
    const made = { scores: scores!, caches };
    known.set(key, made);
    return made;
  });
  return {
    scores: rows.map(({ scores }) => scores.slice()),
    caches: layers.map((_, layer) => {
      const cache = freshCache();
      cache.join(rows.map(({ caches }) => caches[layer]!));
      return cache;
    }),
  };
}

/** Whether prompts are one rectangle without repetitions. */
function areReadTogether(prompts: readonly (readonly number[])[]): boolean {
  const { length: rows } = prompts;
  const { length } = prompts[0]!;
  return rows === 1 || prompts.every((ids) => ids.length === length) &&
      rows * length <= MOST_READ_TOGETHER &&
      new Set(prompts.map((ids) => ids.join())).size === rows;
}

/** Turns dropout off, and restores everything when disposed. */
function evaluating(model: CausalLm): Disposable {
  const trained = [...model.namedModules()].map(([, module]) => module)
    .filter((module) => module.training);
  const state = model.runState();
  for (const module of trained) module.training = false;
  // as in a model just loaded, so that earlier computations have no influence
  model.restoreRunState(null);
  return {
    [Symbol.dispose](): void {
      for (const module of trained) module.training = true;
      model.restoreRunState(state);
    },
  };
}

/**
 * Logits for the token after each row of `ids`, which all have one length; their
 * positions follow those in the caches.
 */
function nextScores(
  model: CausalLm,
  ids: readonly (readonly number[])[],
  caches: readonly KeyValueCache[],
): Float32Array[] {
  using _scope = tensorScope();
  using _frozen = noGrad();
  const length = ids[0]!.length;
  const tokens = tensor(ids, { dtype: "int64", device: model.device });
  const hidden = model.hidden(tokens, { caches });
  // [rows, hidden]: no logits are needed for the other positions
  const last = length === 1
    ? hidden
    : aten.slice(hidden, 0, length - 1, null, length);
  return rowsOf(model.head(aten.contiguous(last)));
}

/** The rows of `[rows, vocabulary]` as numbers. */
function rowsOf(logits: Tensor): Float32Array[] {
  const { bytes, shape: [rows = 0, width = 0] } = toData(
    to(logits, { dtype: "float32" }),
  );
  const all = new Float32Array(bytes.buffer, bytes.byteOffset, rows * width);
  return Array.from(
    { length: rows },
    (_, row) => all.subarray(row * width, (row + 1) * width),
  );
}

/** The next token of each row of scores. */
function chooseTokens(
  model: CausalLm,
  scores: readonly Float32Array[],
  doSample: boolean,
): number[] {
  const likeliest = scores.map((each) => argmax(each));
  if (likeliest.some((id, row) => !Number.isFinite(scores[row]![id]))) {
    throw new InputError(
      `Cannot generate with model "${model.config.path}": its logits are not finite numbers, ` +
        `where float16 overflows, bfloat16 or float32 weights may not`,
    );
  }
  return doSample ? draw(model, scores) : likeliest;
}

/**
 * One token for each row, drawn with PyTorch's random numbers, so that seeds mean
 * the same as there.
 */
function draw(model: CausalLm, scores: readonly Float32Array[]): number[] {
  using _scope = tensorScope();
  const width = scores[0]!.length;
  const rows = empty([scores.length, width]);
  const { buffer, byteOffset } = rows.unsafeBytes();
  scores.forEach((each, row) =>
    new Float32Array(buffer, byteOffset + 4 * row * width, width).set(each)
  );
  const probabilities = aten.softmax(to(rows, { device: model.device }), -1);
  return [...aten.multinomial(probabilities, 1).toArray()];
}

function checkOptions(options: GenerateOptions): void {
  const problems = [...samplingProblems(options), ...lengthProblems(options)];
  if (problems.length > 0) throw new RangeError(problems.join("; "));
}

function lengthProblems(
  { maxNewTokens = MAX_NEW_TOKENS }: GenerateOptions,
): string[] {
  const problems: string[] = [];
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) {
    problems.push(
      `Cannot generate ${maxNewTokens} tokens: maxNewTokens must be a whole number from 1`,
    );
  }
  return problems;
}

/** Ids come from texts and folders, so a user can correct them. */
function checkPrompt(model: CausalLm, ids: readonly number[]): void {
  const { path, vocabSize } = model.config;
  const start = `Cannot generate with model ${quoted(path)}: the prompt`;
  if (ids.length === 0) {
    throw new InputError(`${start} is empty, at least one token is needed`);
  }
  const strange = ids.find((id) =>
    !(Number.isInteger(id) && id >= 0 && id < vocabSize)
  );
  if (strange === undefined) return;
  throw new InputError(
    `${start} has id ${strange}, but vocab_size in config.json is ${vocabSize}`,
  );
}
