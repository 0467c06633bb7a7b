/**
 * Numbers that LoRA starts from, computed from the frozen weight or drawn: PiSSA (Meng et
 * al., arXiv:2404.02948), OLoRA (Büyükakyüz, arXiv:2406.01775), and orthogonal matrices.
 * PiSSA and OLoRA take the product of their first matrices out of the weight.
 *
 * @module
 */

import type { LoraStart } from "../arguments/lora_settings.ts";
import { InputError } from "../input_error.ts";
import { Linear, type Projection } from "../nn/mod.ts";
import {
  aten,
  DetachedScope,
  type Tensor,
  tensor,
  tensorScope,
  to,
} from "../tensor/mod.ts";

/** The first A, `[r, in]`, and B, `[out, r]`. */
interface Matrices {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** The sizes that the first matrices depend on. */
interface StartSizes {
  /** Rows of A and columns of B, r. */
  readonly rank: number;
  /** The factor of the product. */
  readonly scaling: number;
}

/** Whether `start` takes the first product out of the weights of the base model. */
export function changesWeights(start: LoraStart): boolean {
  return typeof start === "string" && /^(pissa|olora)/.test(start);
}

/** Whether `start` computes the matrices otherwise than {@linkcode drawMatrices}. */
export function isComputed(start: LoraStart): boolean {
  return changesWeights(start) || start === "orthogonal";
}

/**
 * The first matrices in front of `base`, float32.
 *
 * @throws {InputError} when the rank does not suit the layer.
 */
export function firstMatrices(
  start: LoraStart,
  base: Projection,
  sizes: StartSizes,
): Matrices {
  if (start === "orthogonal") return orthogonal(base, sizes);
  const weight = to(linearBelow(base, start).weight, { dtype: "float32" });
  const most = Math.min(...weight.shape);
  if (sizes.rank > most) {
    throw new InputError(
      `Cannot start LoRA of rank ${sizes.rank} as ${start}: a weight of ${
        weight.shape.join(" × ")
      } numbers has parts up to rank ${most}`,
    );
  }
  return start === "olora" ? olora(weight, sizes) : pissa(start, weight, sizes);
}

function linearBelow(base: Projection, start: LoraStart): Linear {
  if (base instanceof Linear) return base;
  throw new InputError(
    `Cannot start LoRA as ${start}: the adapted layer has no weight of its own`,
  );
}

/** `A = √(S/s) Vᵀ` and `B = U √(S/s)` of the r largest singular values. */
function pissa(start: LoraStart, weight: Tensor, sizes: StartSizes): Matrices {
  const { rank, scaling } = sizes;
  const rounds = /_niter_(\d+)$/.exec(String(start))?.[1];
  const [u, s, vh] = rounds === undefined
    ? aten.linalgSvd(weight, false)
    : lowRankSvd(weight, { rank, rounds: Number(rounds) });
  const root = aten.sqrt(
    aten.mul(aten.slice(s, 0, 0, rank), tensor(1 / scaling)),
  );
  return {
    a: aten.mul(aten.slice(vh, 0, 0, rank), aten.unsqueeze(root, 1)),
    b: aten.mul(aten.slice(u, 1, 0, rank), root),
  };
}

/**
 * U, S and Vᵀ of about the `rank` largest singular values (Halko et al.,
 * arXiv:0909.4061, algorithms 4.4 and 5.1), as `torch.svd_lowrank`.
 */
function lowRankSvd(
  weight: Tensor,
  { rank, rounds }: { readonly rank: number; readonly rounds: number },
): readonly [Tensor, Tensor, Tensor] {
  const [rows = 0, columns = 0] = weight.shape;
  const isWide = rows < columns;
  const tall = isWide ? aten.t(weight) : weight;
  const { device } = weight;
  const random = to(aten.randn([tall.shape[1]!, rank]), { device });
  let [basis] = aten.linalgQr(aten.mm(tall, random));
  for (let round = 0; round < rounds; round++) {
    const [other] = aten.linalgQr(aten.mm(aten.t(tall), basis));
    [basis] = aten.linalgQr(aten.mm(tall, other));
  }
  const small = aten.mm(aten.t(basis), tall);
  const [u, s, vh] = aten.linalgSvd(small, false);
  const left = aten.mm(basis, u);
  return isWide ? [aten.t(vh), s, aten.t(left)] : [left, s, vh];
}

/** `A = R[:r]` and `B = Q[:, :r]` of `W = Q R`. */
function olora(weight: Tensor, { rank }: StartSizes): Matrices {
  const [q, r] = aten.linalgQr(weight);
  return {
    a: aten.contiguous(aten.slice(r, 0, 0, rank)),
    b: aten.contiguous(aten.slice(q, 1, 0, rank)),
  };
}

/** Odd and even rows of one orthogonal matrix, times random numbers, in peft's order. */
function orthogonal(base: Projection, { rank }: StartSizes): Matrices {
  if (rank % 2 !== 0) {
    throw new InputError(
      `Cannot start LoRA of rank ${rank} as orthogonal: an even rank is needed`,
    );
  }
  const [q] = aten.linalgQr(aten.randn([rank, rank]));
  const half = rank / 2;
  const left = aten.mm(
    aten.randn([base.inFeatures, half]),
    aten.slice(q, 0, 0, rank, 2),
  );
  const right = aten.mm(
    aten.t(aten.randn([half, base.outFeatures])),
    aten.slice(q, 0, 1, rank, 2),
  );
  // peft holds them in the type of the weight first.
  const dtype = base instanceof Linear ? base.weight.dtype : "float32";
  const rounded = (matrix: Tensor): Tensor =>
    to(
      to(aten.contiguous(aten.div(matrix, tensor(10))), { dtype }),
      { dtype: "float32" },
    );
  return { a: rounded(aten.t(left)), b: rounded(right) };
}

/** A weight of which the first product was taken out, in the place of the whole one. */
export class ReducedWeight implements Disposable {
  readonly #linear: Linear;
  readonly #original: Tensor;
  #reduced: Tensor;
  /** The matrices of the product that was taken out. */
  readonly first: Matrices;

  /** Takes the product of `first` out of the weight of `base`, and puts the rest there. */
  constructor(base: Projection, first: Matrices, scaling: number) {
    using scope = new DetachedScope();
    this.#linear = linearBelow(base, "pissa");
    this.#original = this.#linear.weight;
    const { dtype } = this.#original;
    const wide = to(this.#original, { dtype: "float32" });
    const product = aten.mm(aten.mul(first.b, tensor(scaling)), first.a);
    this.#reduced = scope.keep(to(wide.add(product, -1), { dtype }));
    this.first = {
      a: scope.keep(aten.clone(first.a)),
      b: scope.keep(aten.clone(first.b)),
    };
    this.attach();
  }

  /** Puts the rest into the layer. */
  attach(): void {
    this.#linear.weight = this.#reduced;
  }

  /** Puts the whole weight into the layer. */
  detach(): void {
    this.#linear.weight = this.#original;
  }

  /** Takes `weight` for the rest: that of the run that made the adapter. */
  replace(weight: Tensor): void {
    this.#reduced[Symbol.dispose]();
    this.#reduced = weight;
    this.attach();
  }

  /** The rest in float32. */
  wide(): Tensor {
    using scope = tensorScope();
    return scope.keep(to(this.#reduced, { dtype: "float32" }));
  }

  /** Frees the rest and the first matrices. */
  [Symbol.dispose](): void {
    this.#reduced[Symbol.dispose]();
    this.first.a[Symbol.dispose]();
    this.first.b[Symbol.dispose]();
  }
}
