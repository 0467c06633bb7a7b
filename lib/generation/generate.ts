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
  fromData,
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

/** The default limit on the tokens of an answer. */
export const MAX_NEW_TOKENS = 512;

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
  const problems = [...samplingProblems(options), ...lengthProblems(options)];
  if (problems.length > 0) throw new RangeError(problems.join("; "));
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
  const { maxNewTokens = MAX_NEW_TOKENS, seed } = options;
  const ends = new Set(options.eosTokenIds ?? model.config.eosTokenIds);
  using _evaluating = evaluating(model);
  using resources = new DisposableStack();
  const caches = model.decoderLayers.map(() =>
    resources.use(new KeyValueCache())
  );
  if (seed !== undefined) manualSeed(seed, model.device);
  const seen = [...promptIds];
  let start = 0;
  for (let count = 0; count < maxNewTokens; count++) {
    const scores = nextScores(model, seen.slice(start), caches);
    start = seen.length;
    processLogits(scores, seen, options);
    const id = chooseToken(model, scores, options.doSample ?? false);
    seen.push(id);
    yield id;
    if (ends.has(id)) return;
  }
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

/** Logits for the token after `ids`, whose positions follow those in the caches. */
function nextScores(
  model: CausalLm,
  ids: readonly number[],
  caches: readonly KeyValueCache[],
): Float32Array {
  using _scope = tensorScope();
  using _frozen = noGrad();
  const row = tensor([ids], { dtype: "int64", device: model.device });
  const hidden = model.hidden(row, { caches });
  // [1, hidden]: no logits are needed for the other positions
  const last = aten.slice(hidden, 0, ids.length - 1, ids.length);
  return floats(model.head(last));
}

function floats(logits: Tensor): Float32Array {
  const { bytes } = toData(to(logits, { dtype: "float32" }));
  return new Float32Array(bytes.buffer, bytes.byteOffset, logits.size);
}

function chooseToken(
  model: CausalLm,
  scores: Float32Array<ArrayBufferLike>,
  doSample: boolean,
): number {
  const likeliest = argmax(scores);
  if (likeliest < 0 || !Number.isFinite(scores[likeliest])) {
    throw new InputError(
      `Cannot generate with model "${model.config.path}": its logits are not finite numbers, ` +
        `where float16 overflows, bfloat16 or float32 weights may not`,
    );
  }
  return doSample ? draw(model, scores) : likeliest;
}

/** One token, drawn with PyTorch's random numbers, so that seeds mean the same as there. */
function draw(model: CausalLm, scores: Float32Array): number {
  using _scope = tensorScope();
  const row = fromData({
    dtype: "float32",
    shape: [1, scores.length],
    bytes: new Uint8Array(scores.slice().buffer),
  });
  const probabilities = aten.softmax(to(row, { device: model.device }), -1);
  return aten.multinomial(probabilities, 1).item();
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
