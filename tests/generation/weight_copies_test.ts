/**
 * When generation copies weights, and who frees the copies.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import {
  generate,
  generateBatch,
  keepWeightCopies,
} from "../../lib/generation/mod.ts";
import { Linear } from "../../lib/nn/mod.ts";
import { liveTensors } from "../../lib/tensor/mod.ts";

const GQA = "tests/fixtures/models/llama_gqa";
const LONG = { maxNewTokens: 30, eosTokenIds: [] };

Deno.test("generate() frees the copies that a long answer made, and those of one that is left early", () => {
  using model = AutoModelForCausalLM.fromPretrained(GQA);
  const whole = [...generate(model, [1, 5, 6], LONG)];
  assert.equal(whole.length, 30);
  const before = liveTensors();
  let count = 0;
  for (const _ of generate(model, [1, 5, 6], LONG)) {
    if (++count === 27) break;
  }
  assert.equal(liveTensors(), before);
  for (const [, module] of model.namedModules()) {
    if (module instanceof Linear) assert.equal(module.fewRows, null);
  }
});

Deno.test("keepWeightCopies() keeps the copies of a long answer, and no short one or batch makes any", () => {
  using model = AutoModelForCausalLM.fromPretrained(GQA);
  const whole = [...generate(model, [1, 5, 6], LONG)];
  const before = liveTensors();
  {
    using _copies = keepWeightCopies(model);
    generateBatch(model, [[1], [5, 6]], LONG);
    const short = generate(model, [1, 5, 6], { ...LONG, maxNewTokens: 20 });
    assert.deepEqual([...short], whole.slice(0, 20));
    assert.equal(liveTensors(), before);
    assert.deepEqual([...generate(model, [1, 5, 6], LONG)], whole);
    const kept = liveTensors() - before;
    assert.ok(kept > 0);
    assert.deepEqual([...generate(model, [1, 5, 6], LONG)], whole);
    assert.equal(liveTensors(), before + kept);
  }
  assert.equal(liveTensors(), before);
});
