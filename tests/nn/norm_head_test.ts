/**
 * The head whose rows are brought to length 1.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { NormHead } from "../../lib/nn/mod.ts";
import {
  aten,
  liveTensors,
  type Tensor,
  tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";

/** A head of three words, one of them zero. */
function headOf(rows: readonly (readonly number[])[]): NormHead {
  const head = new NormHead({ inFeatures: 2, outFeatures: rows.length });
  head.setParameter("weight", tensor(rows.map((row) => [...row])));
  return head;
}

const ROWS = [[3, 4], [0, 0], [0, 0.001]];

Deno.test("NormHead.forward() multiplies with rows of length 1; a row of zeros stays", () => {
  using _scope = tensorScope();
  const head = headOf(ROWS);
  const logits = head.forward(tensor([[1, 2], [5, 0]]));
  assertClose(logits.toArray(), [11 / 5, 0, 2, 3, 0, 0], { limit: 1e-6 });
  head.release();
});

Deno.test("NormHead.forward() follows a weight that is replaced or trained", () => {
  using _scope = tensorScope();
  const head = headOf(ROWS);
  const input = tensor([[1, 1]]);
  const first = (): number => head.forward(input).toArray()[0]!;
  assertClose([first()], [7 / 5], { limit: 1e-6 });
  head.setParameter("weight", tensor([[1, 0], [0, 1], [1, 1]]));
  assertClose([first()], [1], { limit: 1e-6 });
  head.weight.requireGrad();
  const sum: Tensor = aten.sum(head.forward(tensor([[1, 2]])));
  aten.backward(sum, [head.weight]);
  // d (x·w/‖w‖) / dw = (x − (x·ŵ) ŵ) / ‖w‖
  const root = Math.sqrt(2);
  const along = 3 / root / root;
  assertClose(head.weight.grad!.toArray(), [
    ...[0, 2],
    ...[1, 0],
    ...[(1 - along) / root, (2 - along) / root],
  ], { limit: 1e-6 });
  head.release();
});

Deno.test("NormHead.forward() has the same rows of length 1 in every block of a large vocabulary", () => {
  using _scope = tensorScope();
  const words = 8192 + 5;
  const head = new NormHead({ inFeatures: 1, outFeatures: words });
  const rows = Array.from({ length: words }, (_, at) => [at + 1]);
  head.setParameter("weight", tensor(rows));
  const logits = head.forward(tensor([[2]])).toArray();
  assert.equal(logits.length, words);
  assertClose(logits, rows.map(() => 2), { limit: 1e-6 });
  head.release();
});

Deno.test("NormHead.release() frees all but the weight", () => {
  using _scope = tensorScope();
  const head = headOf(ROWS);
  const input = tensor([[1, 1]]);
  const before = liveTensors();
  {
    using _inner = tensorScope();
    head.forward(input);
  }
  assert.equal(liveTensors(), before + 1);
  head.setParameter("weight", tensor([[1, 0], [0, 1], [1, 1]]));
  {
    using _inner = tensorScope();
    head.forward(input);
  }
  assert.equal(liveTensors(), before + 2, "another weight, the same scales");
  head.release();
  assert.equal(liveTensors(), before + 1);
});
