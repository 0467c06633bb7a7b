/**
 * Learning-rate schedules against transformers' multipliers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { scheduleFactor } from "../../lib/training/mod.ts";
import { GOLDEN } from "./tiny_run.ts";

interface Case {
  readonly kind: string;
  readonly warmup_steps: number;
  readonly total_steps: number;
  readonly steps: readonly number[];
  readonly multipliers: readonly number[];
}

const cases: readonly Case[] = JSON.parse(
  Deno.readTextFileSync(`${GOLDEN}/schedules.json`),
);

for (const name of new Set(cases.map(({ kind }) => kind))) {
  Deno.test(`scheduleFactor() of ${name} is transformers' at every golden step`, () => {
    const own = cases.filter(({ kind }) => kind === name);
    assert.equal(own.length, 5);
    for (const { warmup_steps, total_steps, steps, multipliers } of own) {
      const schedule = {
        name,
        warmupSteps: warmup_steps,
        maxSteps: total_steps,
      };
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
