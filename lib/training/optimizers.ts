/**
 * The optimizers by name; each is one file in `optimizers/`. A script adds one of
 * its own with {@linkcode registerOptimizer}.
 *
 * @module
 */

import { InputError } from "../input_error.ts";
import type { OptimizerDefinition } from "./optimizer.ts";
import { ADAFACTOR } from "./optimizers/adafactor.ts";
import { ADAGRAD } from "./optimizers/adagrad.ts";
import { ADAMW } from "./optimizers/adamw.ts";
import { LION } from "./optimizers/lion.ts";
import { MUON } from "./optimizers/muon.ts";
import { RMSPROP } from "./optimizers/rmsprop.ts";
import { SCHEDULE_FREE_ADAMW } from "./optimizers/schedule_free_adamw.ts";
import { SGD } from "./optimizers/sgd.ts";

const table = new Map<string, OptimizerDefinition>(
  [ADAMW, SGD, ADAGRAD, RMSPROP, ADAFACTOR, LION, SCHEDULE_FREE_ADAMW, MUON]
    .flatMap((each) => each.names.map((name) => [name, each])),
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
