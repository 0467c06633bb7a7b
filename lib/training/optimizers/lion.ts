/**
 * Lion (Chen et al., arXiv:2302.06675): `p ← p(1 − ηλ)`,
 * `p ← p − η · sign(β₁m + (1−β₁)g)`, `m ← β₂m + (1−β₂)g`. Its betas are
 * `--adam_beta1` and `--adam_beta2`, as in transformers.
 *
 * @module
 */

import { aten, type Tensor, tensor } from "../../tensor/mod.ts";
import { type OptimizerDefinition, optimSettings } from "../optimizer.ts";
import {
  addTo,
  average,
  decayWeights,
  optimizerOf,
  scaled,
} from "../update_rule.ts";

/** `--optim lion_32bit`. */
export const LION: OptimizerDefinition = {
  names: ["lion_32bit", "lion"],
  create: (parameters, args) => {
    const { adam_beta1, adam_beta2, weight_decay } = args;
    optimSettings({}, args);
    return optimizerOf(parameters, {
      settings: { betas: [adam_beta1, adam_beta2] },
      weightDecay: weight_decay,
      state: { elementwise: ["state1"] },
      update(part): void {
        const { values, gradients, state, rate } = part;
        const { state1 } = state;
        const direction = scaled(state1!, adam_beta1)
          .add(gradients, 1 - adam_beta1);
        decayWeights(part);
        addTo(values, sign(direction), -rate);
        average(state1!, gradients, adam_beta2);
      },
    });
  },
};

/** −1, 0 or 1. */
function sign(values: Tensor): Tensor {
  const { device } = values;
  const zero = tensor(0, { device });
  const one = tensor(1, { device });
  const minus = aten.where(aten.lt(values, zero), tensor(-1, { device }), zero);
  return aten.where(aten.gt(values, zero), one, minus);
}
