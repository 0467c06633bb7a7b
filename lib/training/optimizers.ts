/**
 * The optimizers by name. Each declares its update, the state that a checkpoint
 * holds, and its settings by PyTorch's names. A script adds one of its own with
 * {@linkcode registerOptimizer}.
 *
 * @module
 */

import type { TrainingArguments } from "../arguments/settings.ts";
import { InputError } from "../input_error.ts";
import type { Tensor } from "../tensor/mod.ts";
import { AdamW } from "./adamw.ts";
import type { FlatEntry, FlatParameters } from "./flat_parameters.ts";

/** A value in PyTorch's `param_groups`. */
export type OptimizerSetting =
  | null
  | boolean
  | number
  | readonly [number, number];

/** Updates trained parameters from their gradients. */
export interface Optimizer extends Disposable {
  /**
   * The numbers in its state, saved in a checkpoint and set again on resume.
   * `step` is the number of updates so far.
   */
  readonly scalars: { step: number; [name: string]: number };
  /**
   * The content of `param_groups` in `optimizer.pt`, except `lr`,
   * `weight_decay` and `params`.
   */
  readonly settings: Readonly<Record<string, OptimizerSetting>>;
  /** `weight_decay` of the parameters that have weight decay. */
  readonly weightDecay: number;
  /**
   * The tensors in its state that belong to `parameter`, by PyTorch's names.
   * Checkpoints copy from them, and resuming copies into them, so they must be
   * the state itself or views of it. All parameters have the same names.
   */
  stateOf(parameter: FlatEntry): Readonly<Record<string, Tensor>>;
  /** Takes one step with the present gradients. */
  step(learningRate: number): void;
}

/** An optimizer that can be chosen by name. */
export interface OptimizerDefinition {
  /** The values of `--optim` that choose it: its name, and synonyms. */
  readonly names: readonly [string, ...string[]];
  /** Makes the optimizer of `parameters`, in its state before the first step. */
  create(parameters: FlatParameters, args: TrainingArguments): Optimizer;
}

const ADAMW: OptimizerDefinition = {
  names: ["adamw_torch_fused", "adamw_torch"],
  create: (parameters, args) =>
    new AdamW(parameters, {
      betas: [args.adam_beta1, args.adam_beta2],
      eps: args.adam_epsilon,
      weightDecay: args.weight_decay,
    }),
};

const table = new Map<string, OptimizerDefinition>(
  ADAMW.names.map((name) => [name, ADAMW]),
);

/**
 * Adds an optimizer that `optim` can then name. It replaces one of the same name.
 *
 * @example
 * ```ts
 * import { aten, registerOptimizer, tensorScope } from "@lorikeet/lorikeet";
 * import { optimizerNames } from "@lorikeet/lorikeet/training";
 *
 * registerOptimizer({
 *   names: ["sgd_plain"],
 *   create: ({ values, gradients }) => ({
 *     scalars: { step: 0 },
 *     settings: { momentum: 0 },
 *     weightDecay: 0,
 *     stateOf: () => ({}),
 *     step(learningRate): void {
 *       using _scope = tensorScope();
 *       this.scalars.step++;
 *       aten.copy_(values, values.add(gradients, -learningRate));
 *     },
 *     [Symbol.dispose]: () => {},
 *   }),
 * });
 * if (!optimizerNames().includes("sgd_plain")) throw new Error("unexpected");
 * ```
 */
export function registerOptimizer(definition: OptimizerDefinition): void {
  for (const name of definition.names) table.set(name, definition);
}

/** The names that `optim` may have. */
export function optimizerNames(): string[] {
  return [...table.keys()];
}

/**
 * The optimizer called `name`.
 *
 * @throws {InputError} with the known names and exit code 2.
 */
export function optimizerNamed(name: string): OptimizerDefinition {
  const found = table.get(name);
  if (found !== undefined) return found;
  throw unknownName("optim", { name, names: optimizerNames() });
}

/** The error for a name that is not in a table. */
export function unknownName(
  setting: string,
  asked: { readonly name: string; readonly names: readonly string[] },
): InputError {
  const list = asked.names.map((each) => JSON.stringify(each)).join(", ");
  return new InputError(
    `Cannot use --${setting} ${
      JSON.stringify(asked.name)
    }: not supported yet, expected one of ${list}`,
    { exitCode: 2 },
  );
}
