/**
 * Adafactor (Shazeer and Stern, arXiv:1804.04235) as `transformers.Adafactor`
 * with the Trainer's `scale_parameter=False, relative_step=False`: the second
 * moments of a matrix are kept as one average a row and one a column. With
 * `β = 1 − t^decay_rate`: `r ← βr + (1−β)·mean over columns of (g² + ε)`, `c`
 * likewise over rows, `u = g · (r/mean r)^−½ · c^−½`, which is divided by
 * `max(1, rms(u)/clip_threshold)`; `p ← p(1 − ηλ) − ηu`.
 *
 * @module
 */

import { aten, type Tensor, tensor } from "../../tensor/mod.ts";
import { gradientNorm } from "../gradient_scaling.ts";
import { type OptimizerDefinition, optimSettings } from "../optimizer.ts";
import { addTo, average, decayWeights, optimizerOf } from "../update_rule.ts";

/** Keeps squares above 0. */
const EPS = 1e-30;

const SETTINGS = { clip_threshold: 1, decay_rate: -0.8 };

/** `--optim adafactor`. */
export const ADAFACTOR: OptimizerDefinition = {
  names: ["adafactor"],
  create: (parameters, args) => {
    const { clip_threshold, decay_rate } = optimSettings(SETTINGS, args);
    return optimizerOf(parameters, {
      settings: {
        eps: [EPS, 1e-3],
        clip_threshold,
        decay_rate,
        beta1: null,
        scale_parameter: false,
        relative_step: false,
        warmup_init: false,
      },
      weightDecay: args.weight_decay,
      state: { of: stateSizes },
      update(part): void {
        const { values, gradients, state, rate, step } = part;
        const keep = 1 - step ** decay_rate;
        const direction = aten.mul(
          gradients,
          precision(gradients, state, keep),
        );
        const clip = Math.max(1, rootMeanSquare(direction) / clip_threshold);
        decayWeights(part);
        addTo(values, direction, -rate / clip);
      },
    });
  },
};

function stateSizes(
  shape: readonly number[],
): Readonly<Record<string, readonly number[]>> {
  if (shape.length < 2) return { exp_avg_sq: shape };
  return {
    exp_avg_sq_row: shape.slice(0, -1),
    exp_avg_sq_col: [...shape.slice(0, -2), shape.at(-1)!],
  };
}

/** Averages the squares of `gradients`, and returns one over their root. */
function precision(
  gradients: Tensor,
  state: Readonly<Record<string, Tensor>>,
  keep: number,
): Tensor {
  const { device } = gradients;
  const squares = aten.mul(gradients, gradients).add(tensor(EPS, { device }));
  const { exp_avg_sq, exp_avg_sq_row: row, exp_avg_sq_col: column } = state;
  if (exp_avg_sq !== undefined) {
    average(exp_avg_sq, squares, keep);
    return aten.rsqrt(exp_avg_sq);
  }
  average(row!, aten.meanDim(squares, [-1]), keep);
  average(column!, aten.meanDim(squares, [-2]), keep);
  const share = aten.div(row!, aten.meanDim(row!, [-1], true));
  return aten.mul(
    aten.unsqueeze(aten.rsqrt(share), -1),
    aten.unsqueeze(aten.rsqrt(column!), -2),
  );
}

function rootMeanSquare(values: Tensor): number {
  return gradientNorm(values).item() / Math.sqrt(values.size);
}
