/**
 * GradientTape: operations with their own backward formula between others, against
 * autograd of the same.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  addToGradient,
  aten,
  GradientTape,
  liveTensors,
  noGrad,
  recordingTape,
  type Tensor,
  tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";

/** `a ∘ b` by a formula of its own where a tape is open, else by autograd. */
function product(a: Tensor, b: Tensor): Tensor {
  const tape = recordingTape([a, b]);
  return tape?.record([a, b], (save) => {
    const [first, second] = [save(a), save(b)];
    return {
      output: aten.mul(a, b),
      pull: (gradient) => [
        aten.mul(gradient, second),
        aten.mul(gradient, first),
      ],
    };
  }) ?? aten.mul(a, b);
}

/** Gradients of a sum in which results are used several times, on both sides of products. */
function gradients(through: "tape" | "autograd"): number[][] {
  using _scope = tensorScope();
  using tape = through === "tape" ? new GradientTape() : null;
  const [x, w, unused] = [[2, 3], [0.5, -4], [1, 1]].map((each) =>
    tensor(each).requireGrad()
  ) as [Tensor, Tensor, Tensor];
  let result: Tensor;
  {
    using inner = tensorScope();
    const first = product(x, w);
    const between = aten.exp(first); // autograd, read by two products
    const second = product(between, first);
    const third = product(between, tensor([3, 5]));
    product(third, unused); // nothing comes of it
    result = inner.keep(second.add(third).add(aten.sigmoid(x)).add(first));
  }
  const gradient = tensor([1, 0.25]);
  if (tape === null) aten.backward(result, [], gradient);
  else tape.backward(result, gradient);
  assert.equal(unused.grad, null);
  return [x, w].map((each) => [...each.grad!.toArray()]);
}

Deno.test("GradientTape gives autograd's gradients where recorded and other operations alternate", () => {
  assert.deepEqual(gradients("tape"), gradients("autograd"));
});

Deno.test("GradientTape frees what it saved, also when nothing asks for gradients", () => {
  const before = liveTensors();
  gradients("tape");
  {
    using _scope = tensorScope();
    using _tape = new GradientTape();
    const x = tensor([2]).requireGrad();
    product(product(x, x), x);
  }
  assert.equal(liveTensors(), before);
});

Deno.test("recordingTape() is there only while a tape is open and gradients are wanted", () => {
  using _scope = tensorScope();
  const x = tensor([2]).requireGrad();
  const constant = tensor([2]);
  assert.equal(recordingTape([x]), null);
  {
    using tape = new GradientTape();
    assert.equal(recordingTape([constant, x]), tape);
    assert.equal(recordingTape([aten.exp(x)]), tape);
    assert.equal(recordingTape([constant]), null);
    assert.equal(recordingTape([aten.detach(x)]), null);
    using _frozen = noGrad();
    assert.equal(recordingTape([x]), null);
  }
  assert.equal(recordingTape([x]), null);
});

Deno.test("addToGradient() adds to the very memory of a gradient", () => {
  using _scope = tensorScope();
  const parameter = tensor([1, 2]).requireGrad();
  const memory = tensor([10, 20]);
  parameter.setGrad(memory);
  addToGradient(parameter, tensor([1, 1]));
  addToGradient(parameter, tensor([1, 2]));
  assert.deepEqual([...memory.toArray()], [12, 23]);
  const fresh = tensor([1]).requireGrad();
  addToGradient(fresh, tensor([4]));
  assert.equal(fresh.grad!.item(), 4);
});
