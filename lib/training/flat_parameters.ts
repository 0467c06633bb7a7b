/**
 * All trained parameters in one contiguous float32 tensor, their gradients in a
 * second, and the optimizer's moments likewise; the modules hold views. So
 * zeroing, norm, clipping and the step are one call each.
 *
 * @module
 */

import type { NamedParameter } from "../nn/mod.ts";
import {
  aten,
  DetachedScope,
  type Device,
  noGrad,
  type Tensor,
  zeros,
} from "../tensor/mod.ts";

/** A parameter and its place in the flat tensors. */
export interface FlatEntry {
  /** Its path in the tree; the first, where a tensor has several. */
  readonly path: string;
  /** Sizes of its dimensions. */
  readonly shape: readonly number[];
  /** First element in the flat tensors. */
  readonly start: number;
  /** One past the last element. */
  readonly end: number;
  /** The view that the modules hold. */
  readonly view: Tensor;
}

/** The part of a flat tensor that belongs to `parameter`, as a view of its shape. */
export function viewOf(
  flat: Tensor,
  { shape, start, end }: Pick<FlatEntry, "shape" | "start" | "end">,
): Tensor {
  return aten.view(aten.slice(flat, 0, start, end), [...shape]);
}

/** Elements with the same weight decay and learning rate. */
export interface FlatGroup {
  /** Whether weight decay applies to them. */
  readonly decays: boolean;
  /** The factor of the learning rate, 1 but for LoRA+. */
  readonly rate: number;
  /** First element in the flat tensors. */
  readonly start: number;
  /** One past the last element. */
  readonly end: number;
}

const NO_DECAY = /bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)/i;

/** The flat tensors; the constructor moves the parameters into them. */
export class FlatParameters implements Disposable {
  /** All parameter values. */
  readonly values: Tensor;
  /** All gradients; autograd adds into this tensor. */
  readonly gradients: Tensor;
  /**
   * The parameters: first those with weight decay, then the others, each in the
   * order of the tree.
   */
  readonly entries: readonly FlatEntry[];
  /** One or two groups, as transformers' Trainer makes them; more with LoRA+. */
  readonly groups: readonly FlatGroup[];
  readonly #places: (readonly NamedParameter[])[];
  readonly #gradientViews: Tensor[] = [];

  /**
   * Copies `parameters` into new flat tensors on `device`, and replaces them by
   * views whose gradients are recorded. A tensor with several places in the tree
   * is moved once. `rateOf` gives the factor of a parameter's learning rate.
   */
  constructor(
    parameters: readonly NamedParameter[],
    device: Device,
    rateOf: (parameter: NamedParameter) => number = () => 1,
  ) {
    using scope = new DetachedScope();
    const grouped = groupBySettings(groupByTensor(parameters), rateOf);
    const ordered = grouped.flatMap(({ places }) => places);
    const size = ordered.reduce((sum, [first]) => sum + first!.tensor.size, 0);
    this.#places = ordered;
    this.values = scope.keep(zeros([size], { device }));
    this.gradients = scope.keep(zeros([size], { device }));
    let start = 0;
    this.entries = ordered.map((same) => {
      const entry = this.#move(same, start);
      start = entry.end;
      return entry;
    });
    let from = 0;
    this.groups = grouped.map(({ places, decays, rate }) => {
      const first = from;
      from += places.reduce((sum, [one]) => sum + one!.tensor.size, 0);
      return { decays, rate, start: first, end: from };
    });
  }

  #move(same: readonly NamedParameter[], start: number): FlatEntry {
    using scope = new DetachedScope();
    using _frozen = noGrad();
    const { path, tensor: old } = same[0]!;
    const { shape } = old;
    const end = start + old.size;
    const place = { shape, start, end };
    const view = scope.keep(aten.detach(viewOf(this.values, place)));
    const gradient = scope.keep(aten.detach(viewOf(this.gradients, place)));
    aten.copy_(view, old);
    view.requireGrad().setGrad(gradient);
    for (const { owner, field } of same) owner.setParameter(field, view);
    this.#gradientViews.push(gradient);
    old[Symbol.dispose]();
    return { path, shape: [...shape], start, end, view };
  }

  /** Sets all gradients to zero. */
  zeroGradients(): void {
    this.gradients.fill(0);
  }

  /**
   * Frees the gradients; the modules keep their weights, whose gradients are
   * not recorded any more.
   */
  [Symbol.dispose](): void {
    using scope = new DetachedScope();
    for (const [index, { view }] of this.entries.entries()) {
      const weight = scope.keep(aten.detach(view));
      for (const { owner, field } of this.#places[index]!) {
        owner.setParameter(field, weight);
      }
      view[Symbol.dispose]();
    }
    for (const view of this.#gradientViews) view[Symbol.dispose]();
    this.values[Symbol.dispose]();
    this.gradients[Symbol.dispose]();
  }
}

function groupByTensor(
  parameters: readonly NamedParameter[],
): NamedParameter[][] {
  const places = new Map<Tensor, NamedParameter[]>();
  for (const each of parameters) {
    places.set(each.tensor, [...places.get(each.tensor) ?? [], each]);
  }
  return [...places.values()];
}

type Places = readonly NamedParameter[];

/** Groups in order: first those with weight decay, then by first appearance. */
function groupBySettings(
  places: readonly Places[],
  rateOf: (parameter: NamedParameter) => number,
): { places: Places[]; decays: boolean; rate: number }[] {
  const groups = new Map<
    string,
    { places: Places[]; decays: boolean; rate: number }
  >();
  for (const place of places) {
    const decays = !NO_DECAY.test(place[0]!.path);
    const rate = rateOf(place[0]!);
    const key = `${decays} ${rate}`;
    const group = groups.get(key) ?? { places: [], decays, rate };
    groups.set(key, group);
    group.places.push(place);
  }
  return [...groups.values()].toSorted((one, other) =>
    Number(other.decays) - Number(one.decays)
  );
}
