/**
 * Stochastic gradient descent with momentum, as `torch.optim.SGD`:
 * `g ← g + λp`, `b ← μb + (1−τ)g` (the first step: `b ← g`), and
 * `p ← p − ηb`, or `p ← p − η(g + μb)` with Nesterov's momentum.
 *
 * @module
 */

import { aten } from "../../tensor/mod.ts";
import { type OptimizerDefinition, optimSettings } from "../optimizer.ts";
import { addTo, optimizerOf, penalised, scaled } from "../update_rule.ts";

const SETTINGS = { momentum: 0, dampening: 0, nesterov: false };

/** `--optim sgd`. */
export const SGD: OptimizerDefinition = {
  names: ["sgd"],
  create: (parameters, args) => {
    const { momentum, dampening, nesterov } = optimSettings(SETTINGS, args);
    return optimizerOf(parameters, {
      settings: { momentum, dampening, nesterov, maximize: false },
      weightDecay: args.weight_decay,
      state: { elementwise: momentum === 0 ? [] : ["momentum_buffer"] },
      update(part): void {
        const { values, state, rate, step } = part;
        const descent = penalised(part);
        const { momentum_buffer: buffer } = state;
        if (buffer === undefined) return addTo(values, descent, -rate);
        aten.copy_(
          buffer,
          step === 1 ? descent : scaled(buffer, momentum).add(
            descent,
            1 - dampening,
          ),
        );
        const ahead = nesterov ? descent.add(buffer, momentum) : buffer;
        addTo(values, ahead, -rate);
      },
    });
  },
};
