/**
 * Schedule-free AdamW (Defazio et al., arXiv:2405.15682) as the package
 * `schedulefree` computes it. It trains at a point `y` between `z`, which takes
 * the steps, and `x`, their average, which is what is evaluated and saved:
 * `v ← β₂v + (1−β₂)g²`, `d = g / (√(v/(1−β₂ᵗ)) + ε) + λy`,
 * `y ← y + c(z − y) + η(β₁(1−c) − 1)d`, `z ← z − ηd`, where `c` is the share of
 * this step in the sum of all steps' weights `t^r · (highest η)^weight_lr_power`.
 * The rate rises over the warm-up by itself, besides the schedule of the run.
 *
 * @module
 */

import { aten, type Tensor, tensor, tensorScope } from "../../tensor/mod.ts";
import {
  type Optimizer,
  type OptimizerDefinition,
  optimSettings,
} from "../optimizer.ts";
import {
  addTo,
  average,
  optimizerOf,
  rootPlus,
  scaled,
  type UpdateRule,
} from "../update_rule.ts";

const SETTINGS = { r: 0, weight_lr_power: 2 };

/** `--optim schedule_free_adamw`. */
export const SCHEDULE_FREE_ADAMW: OptimizerDefinition = {
  names: ["schedule_free_adamw"],
  create: (parameters, args): Optimizer => {
    const beta1 = args.adam_beta1;
    const given = optimSettings(SETTINGS, args);
    const optimizer = optimizerOf(
      parameters,
      ruleOf({
        betas: [beta1, args.adam_beta2],
        eps: args.adam_epsilon,
        weightDecay: args.weight_decay,
        r: given.r,
        power: given.weight_lr_power,
        warmupSteps: args.warmup_steps,
      }),
    );
    const each = (use: (weight: Tensor, state: StateOf) => void): void => {
      using _scope = tensorScope();
      if (optimizer.scalars.step === 0) return;
      for (const entry of parameters.entries) {
        use(aten.detach(entry.view), optimizer.stateOf(entry));
      }
    };
    let isTraining = false;
    return {
      ...optimizer,
      train(on): void {
        if (on === isTraining) return;
        isTraining = on;
        if (on) return each((weight, { y }) => aten.copy_(weight, y!));
        each((weight, { y, z }) => {
          aten.copy_(y!, weight);
          lerp(weight, z!, 1 - 1 / beta1);
        });
      },
    };
  },
};

type StateOf = Readonly<Record<string, Tensor>>;

interface Settings {
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly r: number;
  readonly power: number;
  readonly warmupSteps: number;
}

function ruleOf(settings: Settings): UpdateRule {
  const { betas: [beta1, beta2], eps, weightDecay, r, power, warmupSteps } =
    settings;
  const rise = (step: number): number =>
    step <= warmupSteps ? step / warmupSteps : 1;
  return {
    settings: {
      betas: [beta1, beta2],
      eps,
      r,
      weight_lr_power: power,
      warmup_steps: warmupSteps,
    },
    weightDecay,
    // "y" keeps the weights in training while the average is in place
    state: { elementwise: ["z", "exp_avg_sq", "y"] },
    scalars: { weight_sum: 0, lr_max: -1, share: 0 },
    begin(scalars, rate): void {
      const step = scalars.step!;
      scalars.lr_max = Math.max(rate * rise(step), scalars.lr_max!);
      const weight = step ** r * scalars.lr_max ** power;
      scalars.weight_sum! += weight;
      scalars.share = scalars.weight_sum === 0
        ? 0
        : weight / scalars.weight_sum!;
    },
    update({ values: y, gradients, state, rate, decay, step }, scalars): void {
      const { z, exp_avg_sq } = state;
      const share = scalars.share!;
      if (step === 1) aten.copy_(z!, y);
      average(exp_avg_sq!, aten.mul(gradients, gradients), beta2);
      const variance = scaled(exp_avg_sq!, 1 / (1 - beta2 ** step));
      let change = aten.div(gradients, rootPlus(variance, eps));
      if (decay !== 0) change = change.add(y, decay);
      const reached = rate * rise(step);
      lerp(y, z!, share);
      addTo(y, change, reached * (beta1 * (1 - share) - 1));
      addTo(z!, change, -reached);
    },
  };
}

/** `start ← start + weight · (end − start)` in place. */
function lerp(start: Tensor, end: Tensor, weight: number): void {
  aten.lerp_(start, end, tensor(weight, { device: start.device }));
}
