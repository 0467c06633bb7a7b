/**
 * Run by `gc_test.ts` with `--expose-gc`: collects garbage between any two steps
 * in which libtorch holds something of JavaScript's, then checks the numbers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  aten,
  DetachedScope,
  liveTensors,
  MappedFile,
  type Tensor,
  tensor,
  tensorScope,
  zeros,
} from "../lib/tensor/mod.ts";

const { gc } = globalThis as unknown as { gc: () => void };

/** Collects, and makes garbage so that freed memory is written over. */
function collect(): void {
  gc();
  Array.from({ length: 200 }, () => new Float64Array(100).fill(NaN));
  gc();
}

function mapped(): void {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, new Uint8Array(new Float32Array([5, 6]).buffer));
  using file = new MappedFile(path);
  using borrowed = file.tensor(0, { dtype: "float32", shape: [2] });
  Deno.removeSync(path);
  collect();
  assert.deepEqual([...borrowed.toArray()], [5, 6]);
}

function listsAndOptionals(): void {
  using _scope = tensorScope();
  const parts = Array.from({ length: 50 }, (_, index) => tensor([index]));
  collect();
  const joined = aten.cat(parts);
  collect();
  const [values] = aten.topk(joined, 2);
  collect();
  assert.deepEqual([...values.toArray()], [49, 48]);
  const w = tensor([[1, 2]]).requireGrad();
  const out = aten.linear(tensor([[3, 4]]), w, tensor([0.5]));
  collect();
  aten.backward(aten.sum(out), [w]);
  collect();
  assert.deepEqual([...w.grad!.toArray()], [3, 4]);
}

/** A gradient buffer whose JavaScript views are gone while autograd writes into it. */
function gradientBuffer(): void {
  using _scope = tensorScope();
  const flat = zeros([4]);
  const w = tensor([1, 2, 3, 4]).requireGrad();
  {
    using view = aten.slice(flat, 0, 0, 4);
    w.setGrad(view);
  }
  collect();
  aten.backward(aten.sum(aten.mul(w, w)), [w]);
  collect();
  assert.deepEqual([...flat.toArray()], [2, 4, 6, 8]);
}

/** Tensors that nobody frees, made outside every scope or kept: the net gets them. */
function dropped(): void {
  for (let round = 0; round < 100; round++) {
    const x: Tensor = tensor([round]);
    assert.equal(x.item(), round);
    using _scope = tensorScope();
    using detached = new DetachedScope();
    detached.keep(tensor([round]));
  }
  {
    using scope = tensorScope();
    scope.keep(tensor([1]));
  }
}

async function main(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    mapped();
    listsAndOptionals();
    gradientBuffer();
  }
  dropped();
  for (let round = 0; round < 5 && liveTensors() > 0; round++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  console.log(`survived, ${liveTensors()} tensors left`);
}

main();
