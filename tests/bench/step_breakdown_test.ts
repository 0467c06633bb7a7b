/**
 * The break-down of a step: its parts add up, and what is measured is as before.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  breakDown,
  describeBreakdown,
  PARTS,
} from "../../bench/step_breakdown.ts";
import { libraries } from "../../ffi/mod.ts";
import { sharedRows } from "../../lib/data/mod.ts";
import { accumulateGradients } from "../../lib/training/mod.ts";
import { gradientsOf } from "../training/gradients_of.ts";
import { MODELS, tinyRows } from "../training/tiny_run.ts";

Deno.test("breakDown: parts add up to the whole, the head has its own, and the loss is as before", () => {
  const before = libraries().torch;
  const losses: number[] = [];
  gradientsOf(`${MODELS}/llama_gqa`, {
    adapter: { target_modules: ["q_proj"] },
    compute: (model) => {
      const batch = sharedRows(tinyRows(4));
      const run = (): void => {
        losses.push(accumulateGradients(model, batch, {
          factor: 1,
          checkpointing: false,
          autocast: null,
          seed: [0],
        }));
      };
      run();
      const started = performance.now();
      const found = breakDown(model, run);
      const took = performance.now() - started;
      const whole = PARTS.reduce((sum, part) => sum + found.parts[part], 0);
      assert.ok(whole > 0.5 * took && whole <= took, `${whole} of ${took}`);
      for (const part of ["products", "head", "border"] as const) {
        assert.ok(found.parts[part] > 0, part);
      }
      assert.equal(found.operators.get("head: cross_entropy_loss")?.calls, 1);
      assert.ok(found.operators.get("embedding")!.calls === 1);
      assert.match(describeBreakdown(found, 1), /^products .*\nattention /);
      assert.ok(!Object.hasOwn(model, "head"));
      return losses[0]!;
    },
  });
  assert.equal(losses[0], losses[1]);
  assert.equal(libraries().torch, before);
});
