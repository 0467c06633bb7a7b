/**
 * The loss over trained tokens. Rows whose next token is not trained are left out
 * before the head: they would cost a row of logits each and add nothing.
 *
 * @module
 */

import { type Batch, IGNORED_LABEL } from "../data/collator.ts";
import { aten, type Device, fromData, type Tensor, to } from "../tensor/mod.ts";

const SUM = 2;

/** Positions that are trained, and what they shall predict. */
export interface LossTargets {
  /** Rows of the hidden states `[batch·length, hidden]`, `int64`. */
  readonly rows: Tensor;
  /** The token that follows each, `int64`. */
  readonly labels: Tensor;
}

/** The trained positions of `batch`, labels shifted by one, or `null` when there are none. */
export function lossTargets(batch: Batch, device: Device): LossTargets | null {
  const [, length] = batch.shape;
  const rows: bigint[] = [];
  const labels: bigint[] = [];
  for (let at = 0; at < batch.labels.length; at++) {
    const label = batch.labels[at]!;
    if (at % length === 0 || label === BigInt(IGNORED_LABEL)) continue;
    rows.push(BigInt(at - 1));
    labels.push(label);
  }
  if (rows.length === 0) return null;
  return { rows: int64(rows, device), labels: int64(labels, device) };
}

function int64(values: readonly bigint[], device: Device): Tensor {
  return to(
    fromData({
      dtype: "int64",
      shape: [values.length],
      bytes: new Uint8Array(BigInt64Array.from(values).buffer),
    }),
    { device },
  );
}

/** The ids of `batch` as a tensor `[batch, length]`. */
export function inputIdsOf(batch: Batch, device: Device): Tensor {
  const { inputIds, shape } = batch;
  const bytes = new Uint8Array(
    inputIds.buffer,
    inputIds.byteOffset,
    inputIds.byteLength,
  );
  return to(fromData({ dtype: "int64", shape, bytes }), { device });
}

/**
 * `factor · Σ −log p(label)`, a scalar: logits are float32 as in
 * `transformers.loss.ForCausalLMLoss`.
 */
export function tokenLoss(
  logits: Tensor,
  options: { readonly labels: Tensor; readonly factor: Tensor },
): Tensor {
  const wide = aten.toDtype(logits, "float32");
  const sum = aten.crossEntropyLoss(wide, options.labels, null, SUM);
  return aten.mul(sum, options.factor);
}
