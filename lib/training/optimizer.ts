/**
 * What an optimizer is: its update, the state that a checkpoint holds, and its
 * settings by PyTorch's names.
 *
 * @module
 */

import type { TrainingArguments } from "../arguments/settings.ts";
import { InputError } from "../input_error.ts";
import type { Tensor } from "../tensor/mod.ts";
import type { FlatEntry, FlatParameters } from "./flat_parameters.ts";

/** A value in `--optim_args`. */
export type OptimArgument = number | boolean | string;

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
   * the state itself or views of it.
   */
  stateOf(parameter: FlatEntry): Readonly<Record<string, Tensor>>;
  /** Takes one step with the present gradients. */
  step(learningRate: number): void;
  /**
   * For optimizers that train at other weights than those that are evaluated and
   * saved: puts the weights in training in place, or the others. The former come
   * back to the byte. At the start, and when state is set, the others are in
   * place. Calling it twice is the same as once.
   */
  train?(on: boolean): void;
}

/** An optimizer that can be chosen by name. */
export interface OptimizerDefinition {
  /** The values of `--optim` that choose it: its name, and synonyms. */
  readonly names: readonly [string, ...string[]];
  /** Makes the optimizer of `parameters`, in its state before the first step. */
  create(parameters: FlatParameters, args: TrainingArguments): Optimizer;
}

/**
 * The settings of an optimizer: those in `--optim_args`, such as
 * `momentum=0.9,nesterov=true`, and the defaults in `settings` for the others.
 *
 * @throws {InputError} with exit code 2 for a setting that it does not have, or a
 *   value of another kind.
 *
 * @example
 * ```ts
 * import { trainingArguments } from "@lorikeet/lorikeet";
 * import { optimSettings } from "@lorikeet/lorikeet/training";
 *
 * const args = trainingArguments({ optim: "sgd", optim_args: "momentum=0.9" });
 * const usual = { momentum: 0, nesterov: false };
 * const { momentum, nesterov } = optimSettings(usual, args);
 * if (momentum !== 0.9 || nesterov !== false) throw new Error("unexpected");
 * ```
 */
export function optimSettings<
  T extends Readonly<Record<string, OptimArgument>>,
>(
  settings: T,
  args: TrainingArguments,
): OptimSettings<T> {
  const values: Record<string, OptimArgument> = { ...settings };
  const written = args.optim_args?.replaceAll(" ", "") ?? "";
  for (const part of written === "" ? [] : written.split(",")) {
    const [name = "", text = ""] = part.split("=");
    const usual = Object.hasOwn(settings, name) ? settings[name] : undefined;
    const value = usual === undefined ? usual : readArgument(text, usual);
    if (value === undefined) {
      const names = Object.entries(settings)
        .map(([each, { constructor }]) => `${each}=${KINDS[constructor.name]}`);
      const expected = names.length === 0 ? "none" : names.join(", ");
      throw refusedOptimSetting(args, { name: part, expected });
    }
    values[name] = value;
  }
  return values as OptimSettings<T>;
}

/** The settings of an optimizer whose defaults have the type `T`. */
export type OptimSettings<T> = {
  readonly [Name in keyof T]: T[Name] extends number ? number
    : T[Name] extends boolean ? boolean
    : string;
};

const KINDS: Readonly<Record<string, string>> = {
  Number: "NUMBER",
  Boolean: "true|false",
  String: "NAME",
};

function readArgument(
  text: string,
  usual: OptimArgument,
): OptimArgument | undefined {
  if (typeof usual === "string") return text;
  if (typeof usual === "number") {
    return text !== "" && Number.isFinite(Number(text))
      ? Number(text)
      : undefined;
  }
  const word = text.toLowerCase();
  if (["true", "1", "yes"].includes(word)) return true;
  return ["false", "0", "no"].includes(word) ? false : undefined;
}

/** The error for a setting in `--optim_args`. */
export function refusedOptimSetting(
  { optim, optim_args }: TrainingArguments,
  { name, expected }: { readonly name: string; readonly expected: string },
): InputError {
  return new InputError(
    `Cannot use --optim_args ${
      JSON.stringify(optim_args)
    } with --optim ${optim}: ` +
      `it has no setting ${JSON.stringify(name)}, expected ${expected}`,
    { exitCode: 2 },
  );
}
