/**
 * The loss of half-precision logits is computed in float32, and which labels count.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { trainedTokens } from "../../lib/data/batch.ts";
import {
  aten,
  manualSeed,
  tensor,
  tensorScope,
  to,
} from "../../lib/tensor/mod.ts";
import { tokenLoss } from "../../lib/training/loss.ts";
import { assertClose } from "../closeness.ts";
import { rowOf } from "./tiny_run.ts";

Deno.test("tokenLoss() of bfloat16 logits is a float32 number, as transformers computes it", () => {
  using _scope = tensorScope();
  manualSeed(1);
  const logits = to(aten.randn([4, 50]), { dtype: "bfloat16" });
  const labels = tensor([1, 7, 49, 0], { dtype: "int64" });
  const loss = tokenLoss(logits, { labels, factor: tensor(0.25) });
  assert.equal(loss.dtype, "float32");
  const values = logits.toArray();
  const expected = [1, 7, 49, 0].map((label, row) => {
    const own = values.slice(row * 50, row * 50 + 50);
    const total = own.reduce((sum, each) => sum + Math.exp(each), 0);
    return Math.log(total) - own[label]!;
  });
  const mean = expected.reduce((sum, each) => sum + each, 0) / 4;
  assertClose([loss.item()], [mean], { limit: 1e-6 });
});

Deno.test("trainedTokens() counts labels that a token before them predicts", () => {
  assert.equal(trainedTokens(rowOf([5, 6, 7], 0)), 2);
  assert.equal(trainedTokens(rowOf([5, 6, 7], 2)), 1);
  assert.equal(trainedTokens(rowOf([5, 6, 7], 3)), 0);
});
