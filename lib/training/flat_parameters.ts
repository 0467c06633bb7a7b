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

/** Elements with the same weight decay. */
export interface FlatGroup {
  /** Whether weight decay applies to them. */
  readonly decays: boolean;
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
  /** One or two groups, as transformers' Trainer makes them. */
  readonly groups: readonly FlatGroup[];
  readonly #places: (readonly NamedParameter[])[];
  readonly #gradientViews: Tensor[] = [];

  /**
   * Copies `parameters` into new flat tensors on `device`, and replaces them by
   * views whose gradients are recorded. A tensor with several places in the tree
   * is moved once.
   */
  constructor(parameters: readonly NamedParameter[], device: Device) {
    using scope = new DetachedScope();
    const places = groupByTensor(parameters);
    const ordered = [
      ...places.filter(([first]) => !NO_DECAY.test(first!.path)),
      ...places.filter(([first]) => NO_DECAY.test(first!.path)),
    ];
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
    this.groups = groupsOf(this.entries);
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

function groupsOf(entries: readonly FlatEntry[]): FlatGroup[] {
  const border = entries.find((entry) => NO_DECAY.test(entry.path))?.start;
  const end = entries.at(-1)?.end ?? 0;
  if (border === undefined) return [{ decays: true, start: 0, end }];
  return [
    { decays: true, start: 0, end: border },
    { decays: false, start: border, end },
  ].filter((group) => group.end > group.start);
}
