/**
 * The loss over trained tokens. Hidden states without a label are left out before
 * the output layer, because their logits would cost time and memory and add
 * nothing.
 *
 * @module
 */

import { type Batch, IGNORED_LABEL } from "../data/batch.ts";
import { aten, type Device, fromData, type Tensor, to } from "../tensor/mod.ts";

const SUM = 2;

/** The positions that are trained, and their labels. */
export interface LossTargets {
  /** Rows of the hidden states `[tokens, hidden]`, `int64`. */
  readonly rows: Tensor;
  /** The token to predict at each of them, `int64`. */
  readonly labels: Tensor;
}

/** The trained positions of `batch`, or `null` when there are none. */
export function lossTargets(batch: Batch, device: Device): LossTargets | null {
  const { rows, labels } = batch.targets;
  if (rows.length === 0) return null;
  return {
    rows: int64(rows, device),
    labels: int64(labels, device),
  };
}

function int64(values: BigInt64Array, device: Device): Tensor {
  const { buffer, byteOffset, byteLength } = values;
  const shape = [values.length];
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  return to(fromData({ dtype: "int64", shape, bytes }), { device });
}

/** The ids of `batch` as a tensor `[tokens]`. */
export function inputIdsOf({ inputIds }: Batch, device: Device): Tensor {
  return int64(inputIds, device);
}

/**
 * The sum of the losses of tokens, a scalar, from their logits `[tokens,
 * vocabulary]` in float32 and labels `[tokens]`. It is called with a part of the
 * tokens at a time, so it must be a sum over tokens.
 */
export type TokenLoss = (logits: Tensor, labels: Tensor) => Tensor;

/**
 * `factor · Σ −log p(label)`, a scalar. Logits are converted to float32, as in
 * `transformers.loss.ForCausalLMLoss`. With `smoothing` ε (Szegedy et al.,
 * arXiv:1512.00567), each term is `(1−ε) · −log p(label)` and ε times the mean of
 * `−log p` over the vocabulary, as in transformers' `LabelSmoother`. `loss` takes
 * the place of both.
 */
export function tokenLoss(
  logits: Tensor,
  options: {
    readonly labels: Tensor;
    readonly factor: Tensor;
    readonly smoothing?: number | undefined;
    readonly loss?: TokenLoss | undefined;
  },
): Tensor {
  const { labels, smoothing = 0, loss } = options;
  const wide = aten.toDtype(logits, "float32");
  const sum = loss?.(wide, labels) ?? aten.crossEntropyLoss(
    wide,
    labels,
    null,
    SUM,
    IGNORED_LABEL,
    smoothing,
  );
  return aten.mul(sum, options.factor);
}
