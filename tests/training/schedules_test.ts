/**
 * Learning-rate schedules against transformers' multipliers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { trainingArguments } from "../../lib/arguments/train_arguments.ts";
import type { TrainingArguments } from "../../lib/arguments/settings.ts";
import { scheduleFactor, scheduleOf } from "../../lib/training/mod.ts";
import { learningRateAt } from "../../lib/training/schedules.ts";
import { errorOf } from "../formats/temporary.ts";
import { GOLDEN } from "./tiny_run.ts";

interface Case {
  readonly kind: string;
  /** lr_scheduler_kwargs, for a highest rate of 0.01. */
  readonly settings?: Readonly<Record<string, number | string>> | null;
  readonly warmup_steps: number;
  readonly total_steps: number;
  readonly steps: readonly number[];
  readonly multipliers: readonly number[];
}

const cases: readonly Case[] = ["schedules", "schedules_with_settings"]
  .flatMap((name) =>
    JSON.parse(Deno.readTextFileSync(`${GOLDEN}/${name}.json`))
  );

for (const name of new Set(cases.map(({ kind }) => kind))) {
  Deno.test(`scheduleFactor() of ${name} is transformers' at every golden step`, () => {
    const own = cases.filter(({ kind }) => kind === name);
    assert.equal(own.length % 5, 0);
    for (const each of own) {
      const { warmup_steps, total_steps, steps, multipliers, settings } = each;
      const schedule = scheduleOf(
        trainingArguments({
          learning_rate: 0.01,
          lr_scheduler_type: name,
          lr_scheduler_kwargs: settings ?? null,
        }),
        { warmupSteps: warmup_steps, maxSteps: total_steps },
      );
      const factors = steps.map((step) => scheduleFactor(schedule, step));
      for (const [at, factor] of factors.entries()) {
        const expected = multipliers[at]!;
        assert(
          Math.abs(factor - expected) <= 1e-15,
          `${warmup_steps} of ${total_steps}, step ${
            steps[at]
          }: ${factor}, ${expected}`,
        );
      }
    }
  });
}

Deno.test("reduce_lr_on_plateau follows the metrics as PyTorch's ReduceLROnPlateau, and needs evaluations", () => {
  const { metrics, cases: plateaus }: {
    metrics: number[];
    cases: { settings: Record<string, number | string>; rates: number[] }[];
  } = JSON.parse(Deno.readTextFileSync(`${GOLDEN}/plateau.json`));
  const asked = (values: Partial<TrainingArguments>) =>
    scheduleOf(
      trainingArguments({
        learning_rate: 0.01,
        lr_scheduler_type: "reduce_lr_on_plateau",
        ...values,
      }),
      { warmupSteps: 0, maxSteps: 50 },
    );
  for (const { settings, rates } of plateaus) {
    const schedule = asked({
      eval_strategy: "steps",
      lr_scheduler_kwargs: settings,
    });
    const found = metrics.map((_, at) =>
      learningRateAt({ ...schedule, metrics: metrics.slice(0, at + 1) }, at)
    );
    for (const [at, rate] of found.entries()) {
      assert(
        Math.abs(rate - rates[at]!) < 1e-15,
        `${at}: ${rate}, ${rates[at]}`,
      );
    }
  }
  for (
    const [values, expected] of [
      [{}, "it requires --eval_strategy steps or epoch"],
      [
        { lr_scheduler_kwargs: { mode: "least" } },
        '"mode" is "least", expected "min" or "max"',
      ],
      [
        { lr_scheduler_kwargs: { factor: 1 } },
        '"factor" is 1, expected less than 1',
      ],
    ] as const
  ) {
    assert.equal(
      errorOf(() => asked(values)),
      `Cannot use --lr_scheduler_type "reduce_lr_on_plateau": ${expected}`,
    );
  }
});
