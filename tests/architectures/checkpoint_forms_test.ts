/**
 * One model in every form in which weights are stored: the same numbers as its
 * safetensors file, whatever the format, the shards, the types and the strides.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { findWeights } from "../../lib/formats/weights.ts";
import { liveTensors, toData } from "../../lib/tensor/mod.ts";

const FORMS = "tests/fixtures/checkpoints";

for (const form of ["plain", "zip", "before_1.6", "shards"]) {
  Deno.test(`AutoModelForCausalLM.fromPretrained() reads the weights of "${form}" as transformers saved them`, () => {
    const expected = readSafetensors(`${FORMS}/plain/model.safetensors`);
    const before = liveTensors();
    {
      using model = AutoModelForCausalLM.fromPretrained(`${FORMS}/${form}`);
      for (const { path, tensor } of model.namedParameters()) {
        if (path === "lm_head.weight") continue;
        assert.deepEqual(toData(tensor), expected.get(path), path);
        expected.delete(path);
      }
    }
    assert.deepEqual([...expected.keys()], []);
    assert.equal(liveTensors(), before);
  });
}

Deno.test("the torch.save fixtures have strided, shared, mixed and sharded tensors", () => {
  for (const form of ["zip", "before_1.6"]) {
    const weights = findWeights(`${FORMS}/${form}`);
    const strides = [...weights.values()].map(({ strides }) => strides?.join());
    assert(strides.includes("1,8") && strides.includes("16,2"), `${strides}`);
    assert.deepEqual(
      weights.get("lm_head.weight"),
      weights.get("model.embed_tokens.weight"),
    );
  }
  const shards = [...findWeights(`${FORMS}/shards`).values()];
  assert.deepEqual([...new Set(shards.map(({ dtype }) => dtype))].sort(), [
    "bfloat16",
    "float32",
    "float64",
  ]);
  assert.equal(new Set(shards.map(({ file }) => file)).size, 2);
});
