/**
 * Learning-rate schedules against transformers' multipliers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { trainingArguments } from "../../lib/arguments/train_arguments.ts";
import { scheduleFactor, scheduleOf } from "../../lib/training/mod.ts";
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
