/**
 * Optimizers from the formula of one update: an {@linkcode UpdateRule} says what
 * state it keeps and how it changes weights; {@linkcode optimizerOf} keeps the
 * state, counts steps and calls it for each group or each parameter.
 *
 * @module
 */

import {
  aten,
  DetachedScope,
  type Tensor,
  tensor,
  tensorScope,
  zeros,
} from "../tensor/mod.ts";
import {
  type FlatEntry,
  type FlatParameters,
  viewOf,
} from "./flat_parameters.ts";
import type { Optimizer, OptimizerSetting } from "./optimizer.ts";

/** Weights that are updated at once, with their gradients and state. */
export interface UpdatedPart {
  /** The weights; the rule changes them in place. */
  readonly values: Tensor;
  readonly gradients: Tensor;
  /** The state by name; the rule changes it in place. */
  readonly state: Readonly<Record<string, Tensor>>;
  /** The learning rate. */
  readonly rate: number;
  /** The weight decay; 0 where there is none. */
  readonly decay: number;
  /** Number of this step, counted from 1. */
  readonly step: number;
}

/** The formula of an optimizer. */
export interface UpdateRule {
  /** What `param_groups` hold in `optimizer.pt`, by PyTorch's names. */
  readonly settings: Readonly<Record<string, OptimizerSetting>>;
  readonly weightDecay: number;
  /**
   * Sizes of the state that belongs to weights of a shape, by name. A rule that
   * works element by element gets the whole flat tensors, which is faster.
   */
  readonly state:
    | { readonly elementwise: readonly string[] }
    | {
      readonly of: (
        shape: readonly number[],
      ) => Readonly<Record<string, readonly number[]>>;
    };
  /** Its numbers that change from step to step, at the start. */
  readonly scalars?: Readonly<Record<string, number>>;
  /** Called once before the parts of a step; changes `scalars`. */
  begin?(scalars: Record<string, number>, rate: number): void;
  update(part: UpdatedPart, scalars: Readonly<Record<string, number>>): void;
}

/** The optimizer of `parameters` with `rule`, in its state before the first step. */
export function optimizerOf(
  parameters: FlatParameters,
  rule: UpdateRule,
): Optimizer {
  const state = "elementwise" in rule.state
    ? new FlatState(parameters, rule.state.elementwise)
    : new ShapedState(parameters, rule.state.of);
  const scalars: Optimizer["scalars"] = { step: 0, ...rule.scalars };
  return {
    scalars,
    settings: rule.settings,
    weightDecay: rule.weightDecay,
    stateOf: (entry) => state.of(entry),
    step(learningRate): void {
      using _scope = tensorScope();
      scalars.step++;
      rule.begin?.(scalars, learningRate);
      for (const { decays, rate, ...part } of state.parts()) {
        rule.update({
          ...part,
          rate: learningRate * rate,
          decay: decays ? rule.weightDecay : 0,
          step: scalars.step,
        }, scalars);
      }
    },
    [Symbol.dispose]: () => state[Symbol.dispose](),
  };
}

type Part =
  & Pick<UpdatedPart, "values" | "gradients" | "state">
  & { readonly decays: boolean; readonly rate: number };

/** One flat tensor a name, like the parameters. */
class FlatState implements Disposable {
  readonly #parameters: FlatParameters;
  readonly #tensors: readonly (readonly [string, Tensor])[];

  constructor(parameters: FlatParameters, names: readonly string[]) {
    using scope = new DetachedScope();
    const { device, shape } = parameters.values;
    this.#parameters = parameters;
    this.#tensors = names.map((name) => [
      name,
      scope.keep(zeros(shape, { device })),
    ]);
  }

  of(entry: FlatEntry): Readonly<Record<string, Tensor>> {
    return Object.fromEntries(
      this.#tensors.map(([name, flat]) => [name, viewOf(flat, entry)]),
    );
  }

  *parts(): Iterable<Part> {
    const { groups, values, gradients } = this.#parameters;
    for (const { start, end, decays, rate } of groups) {
      const slice = (flat: Tensor): Tensor => aten.slice(flat, 0, start, end);
      yield {
        values: slice(values),
        gradients: slice(gradients),
        state: Object.fromEntries(
          this.#tensors.map(([name, flat]) => [name, slice(flat)]),
        ),
        decays,
        rate,
      };
    }
  }

  [Symbol.dispose](): void {
    for (const [, flat] of this.#tensors) flat[Symbol.dispose]();
  }
}

/** Tensors of each parameter's own. */
class ShapedState implements Disposable {
  readonly #parameters: FlatParameters;
  readonly #states = new Map<FlatEntry, Readonly<Record<string, Tensor>>>();

  constructor(
    parameters: FlatParameters,
    sizes: (
      shape: readonly number[],
    ) => Readonly<Record<string, readonly number[]>>,
  ) {
    using scope = new DetachedScope();
    const { device } = parameters.values;
    this.#parameters = parameters;
    for (const entry of parameters.entries) {
      const state = Object.entries(sizes(entry.shape)).map(([name, shape]) => [
        name,
        scope.keep(zeros(shape, { device })),
      ]);
      this.#states.set(entry, Object.fromEntries(state));
    }
  }

  of(entry: FlatEntry): Readonly<Record<string, Tensor>> {
    return this.#states.get(entry) ?? {};
  }

  *parts(): Iterable<Part> {
    const { entries, groups, values, gradients } = this.#parameters;
    for (const entry of entries) {
      using _scope = tensorScope();
      const group = groups.find(({ end }) => entry.start < end)!;
      yield {
        values: viewOf(values, entry),
        gradients: viewOf(gradients, entry),
        state: this.of(entry),
        decays: group.decays,
        rate: group.rate,
      };
    }
  }

  [Symbol.dispose](): void {
    for (const state of this.#states.values()) {
      for (const each of Object.values(state)) each[Symbol.dispose]();
    }
  }
}

/** `factor · tensor` as a new tensor. */
export function scaled(values: Tensor, factor: number): Tensor {
  return aten.mul(values, tensor(factor, { device: values.device }));
}

/** The gradients with `decay` as a penalty of the weights' squares: `g + λp`. */
export function penalised(
  { gradients, values, decay }: UpdatedPart,
): Tensor {
  return decay === 0 ? gradients : gradients.add(values, decay);
}

/** Decays the weights apart from the gradients: `p ← p(1 − ηλ)` in place. */
export function decayWeights({ values, rate, decay }: UpdatedPart): void {
  if (decay !== 0) aten.copy_(values, scaled(values, 1 - rate * decay));
}

/** `target ← target + alpha · other` in place. */
export function addTo(target: Tensor, other: Tensor, alpha = 1): void {
  aten.copy_(target, target.add(other, alpha));
}

/** `average ← keep · average + (1 − keep) · value` in place. */
export function average(average: Tensor, value: Tensor, keep: number): void {
  aten.copy_(average, scaled(average, keep).add(value, 1 - keep));
}

/** `√values + eps` as a new tensor. */
export function rootPlus(values: Tensor, eps: number): Tensor {
  return aten.sqrt(values).add(tensor(eps, { device: values.device }));
}
