/**
 * Adagrad (Duchi et al., JMLR 12, 2011), as `torch.optim.Adagrad`:
 * `g ← g + λp`, `s ← s + g²`, `p ← p − η/(1+(t−1)δ) · g / (√s + ε)`.
 *
 * @module
 */

import { aten } from "../../tensor/mod.ts";
import { type OptimizerDefinition, optimSettings } from "../optimizer.ts";
import { addTo, optimizerOf, penalised, rootPlus } from "../update_rule.ts";

const SETTINGS = { lr_decay: 0, eps: 1e-10 };

/** `--optim adagrad`. */
export const ADAGRAD: OptimizerDefinition = {
  names: ["adagrad"],
  create: (parameters, args) => {
    const { lr_decay, eps } = optimSettings(SETTINGS, args);
    return optimizerOf(parameters, {
      settings: { lr_decay, eps, initial_accumulator_value: 0 },
      weightDecay: args.weight_decay,
      state: { elementwise: ["sum"] },
      update(part): void {
        const { values, state, rate, step } = part;
        const descent = penalised(part);
        addTo(state.sum!, aten.mul(descent, descent));
        const slower = rate / (1 + (step - 1) * lr_decay);
        const root = rootPlus(state.sum!, eps);
        addTo(values, aten.div(descent, root), -slower);
      },
    });
  },
};
