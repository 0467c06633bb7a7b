/**
 * What is said of models that no family computes.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { familyOf } from "../../lib/architectures/registry.ts";
import { errorOf } from "../formats/temporary.ts";

Deno.test("familyOf() says what a model is that takes images, or does not continue text", () => {
  const message = (json: Readonly<Record<string, unknown>>): string =>
    errorOf(() => familyOf("F", json)).replace(/, known are .*/, "");
  assert.equal(
    message({
      model_type: "gemma3",
      architectures: ["Gemma3ForConditionalGeneration"],
      text_config: { model_type: "gemma3_text" },
      vision_config: {},
    }),
    'Cannot compute model "F": its model_type is "gemma3" ("Gemma3ForConditionalGeneration"), which takes more than text',
  );
  assert.equal(
    message({ model_type: "bert", architectures: ["BertForMaskedLM"] }),
    'Cannot compute model "F": its model_type is "bert" ("BertForMaskedLM"), which does not continue text',
  );
  assert.equal(
    message({ model_type: "t5", is_encoder_decoder: true }),
    'Cannot compute model "F": its model_type is "t5", which does not continue text',
  );
  assert.equal(
    message({ model_type: "gpt2", vision_config: null }),
    'Cannot compute model "F": its model_type is "gpt2"',
  );
});
