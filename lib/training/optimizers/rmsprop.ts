/**
 * RMSprop (Hinton, lecture 6 of "Neural networks for machine learning"), as
 * `torch.optim.RMSprop`: `g ← g + λp`, `v ← αv + (1−α)g²`; centred: `a ← αa +
 * (1−α)g` and `v − a²` in place of `v`; `b ← μb + g / (√v + ε)`, `p ← p − ηb`.
 *
 * @module
 */

import { aten } from "../../tensor/mod.ts";
import { type OptimizerDefinition, optimSettings } from "../optimizer.ts";
import {
  addTo,
  average,
  optimizerOf,
  penalised,
  rootPlus,
  scaled,
} from "../update_rule.ts";

const SETTINGS = { alpha: 0.99, eps: 1e-8, momentum: 0, centered: false };

/** `--optim rmsprop`. */
export const RMSPROP: OptimizerDefinition = {
  names: ["rmsprop"],
  create: (parameters, args) => {
    const { alpha, eps, momentum, centered } = optimSettings(SETTINGS, args);
    return optimizerOf(parameters, {
      settings: { alpha, eps, momentum, centered },
      weightDecay: args.weight_decay,
      state: {
        elementwise: [
          "square_avg",
          ...momentum === 0 ? [] : ["momentum_buffer"],
          ...centered ? ["grad_avg"] : [],
        ],
      },
      update(part): void {
        const { values, state, rate } = part;
        const { square_avg, momentum_buffer, grad_avg } = state;
        const descent = penalised(part);
        average(square_avg!, aten.mul(descent, descent), alpha);
        let variance = square_avg!;
        if (grad_avg !== undefined) {
          average(grad_avg, descent, alpha);
          variance = variance.add(aten.mul(grad_avg, grad_avg), -1);
        }
        const change = aten.div(descent, rootPlus(variance, eps));
        if (momentum_buffer === undefined) return addTo(values, change, -rate);
        aten.copy_(
          momentum_buffer,
          scaled(momentum_buffer, momentum).add(change),
        );
        addTo(values, momentum_buffer, -rate);
      },
    });
  },
};
