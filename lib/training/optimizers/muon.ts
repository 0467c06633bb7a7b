/**
 * Muon (Jordan et al., kellerjordan.github.io/posts/muon) as `torch.optim.Muon`,
 * for matrices: `m ← μm + (1−μ)g`, `u = (1−μ)g + μm` (Nesterov) or `m`, `u` made
 * orthogonal by Newton and Schulz's iteration, `p ← p(1 − ηλ) − η·f·u` with
 * `f = √max(1, rows/columns)` or, with `adjust_lr_fn=match_rms_adamw`,
 * `0.2·√max(rows, columns)`. Vectors are updated by AdamW, as its authors advise.
 * PyTorch iterates in bfloat16; this does in float32.
 *
 * @module
 */

import { aten, type Tensor } from "../../tensor/mod.ts";
import { gradientNorm } from "../gradient_scaling.ts";
import {
  type OptimizerDefinition,
  optimSettings,
  refusedOptimSetting,
} from "../optimizer.ts";
import {
  addTo,
  average,
  decayWeights,
  optimizerOf,
  rootPlus,
  scaled,
  type UpdatedPart,
} from "../update_rule.ts";

/** Coefficients of the iteration, as published. */
const COEFFICIENTS = [3.4445, -4.775, 2.0315] as const;
const EPS = 1e-7;

const SCALES: Readonly<Record<string, (a: number, b: number) => number>> = {
  original: (rows, columns) => Math.sqrt(Math.max(1, rows / columns)),
  match_rms_adamw: (rows, columns) => 0.2 * Math.sqrt(Math.max(rows, columns)),
};

const SETTINGS = {
  momentum: 0.95,
  nesterov: true,
  ns_steps: 5,
  adjust_lr_fn: "original",
};

/** `--optim muon`. */
export const MUON: OptimizerDefinition = {
  names: ["muon"],
  create: (parameters, args) => {
    const { momentum, nesterov, ns_steps, adjust_lr_fn } = optimSettings(
      SETTINGS,
      args,
    );
    const scale = SCALES[adjust_lr_fn];
    if (scale === undefined) {
      throw refusedOptimSetting(args, {
        name: "adjust_lr_fn",
        expected: Object.keys(SCALES).join(" or "),
      });
    }
    const adamw = {
      betas: [args.adam_beta1, args.adam_beta2] as const,
      eps: args.adam_epsilon,
    };
    return optimizerOf(parameters, {
      settings: { momentum, nesterov, ns_steps, ...adamw },
      weightDecay: args.weight_decay,
      state: {
        of: (shape) =>
          shape.length === 2
            ? { momentum_buffer: shape }
            : { exp_avg: shape, exp_avg_sq: shape },
      },
      update(part): void {
        const { values, gradients, state, rate } = part;
        decayWeights(part);
        const { momentum_buffer: buffer } = state;
        if (buffer === undefined) return updateVector(part, adamw);
        average(buffer, gradients, momentum);
        const ahead = nesterov
          ? scaled(gradients, 1 - momentum).add(buffer, momentum)
          : buffer;
        const [rows = 1, columns = 1] = values.shape;
        const change = orthogonalised(ahead, ns_steps);
        addTo(values, change, -rate * scale(rows, columns));
      },
    });
  },
};

/** `matrix`, its singular values moved towards 1. */
function orthogonalised(matrix: Tensor, iterations: number): Tensor {
  const [rows = 1, columns = 1] = matrix.shape;
  const [a, b, c] = COEFFICIENTS;
  const norm = gradientNorm(matrix).item();
  const isTall = rows > columns;
  let x = scaled(isTall ? aten.t(matrix) : matrix, 1 / Math.max(norm, EPS));
  for (let round = 0; round < iterations; round++) {
    const gram = aten.mm(x, aten.t(x));
    const update = scaled(gram, b).add(aten.mm(gram, gram), c);
    x = scaled(x, a).add(aten.mm(update, x));
  }
  return isTall ? aten.t(x) : x;
}

/** AdamW without its weight decay. */
function updateVector(
  { values, gradients, state, rate, step }: UpdatedPart,
  { betas: [beta1, beta2], eps }: {
    readonly betas: readonly [number, number];
    readonly eps: number;
  },
): void {
  const { exp_avg, exp_avg_sq } = state;
  average(exp_avg!, gradients, beta1);
  average(exp_avg_sq!, aten.mul(gradients, gradients), beta2);
  const root = rootPlus(scaled(exp_avg_sq!, 1 / (1 - beta2 ** step)), eps);
  addTo(values, aten.div(exp_avg!, root), -rate / (1 - beta1 ** step));
}
