/**
 * Loss scaling with the numbers of `torch.amp.GradScaler`.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { LossScaler } from "../../lib/training/gradient_scaling.ts";

Deno.test("LossScaler.update() halves the scale after an overflow", () => {
  const scaler = new LossScaler();
  assert.equal(scaler.scale, 65536);
  scaler.update(false);
  scaler.update(false);
  assert.deepEqual(scaler.state, { scale: 16384, goodSteps: 0 });
});

Deno.test("LossScaler.update() doubles the scale after 2000 good steps in a row", () => {
  const scaler = new LossScaler();
  for (let step = 0; step < 1999; step++) scaler.update(true);
  assert.equal(scaler.scale, 65536);
  scaler.update(true);
  assert.deepEqual(scaler.state, { scale: 131072, goodSteps: 0 });
  for (let step = 0; step < 1999; step++) scaler.update(true);
  scaler.update(false);
  scaler.update(true);
  assert.deepEqual(scaler.state, { scale: 65536, goodSteps: 1 });
});

Deno.test("LossScaler goes on where its state left off", () => {
  const scaler = new LossScaler({ scale: 8, goodSteps: 1999 });
  scaler.update(true);
  assert.equal(scaler.scale, 16);
});
