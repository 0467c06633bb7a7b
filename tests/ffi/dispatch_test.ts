/**
 * The dispatcher's gate with operators that the table does not have: every kind
 * of result, and what happens to arguments.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { libraries } from "../../ffi/mod.ts";
import { operator, type TensorHandle } from "../../ffi/mod.ts";
import {
  liveTensors,
  Tensor,
  tensor,
  tensorScope,
  zeros,
} from "../../lib/tensor/mod.ts";

/** libtorch hands out the words of its errors since 2.13. */
const givesWords =
  libraries().torch.torch_exception_get_what_without_backtrace !== null;

const own = (handle: TensorHandle): Tensor => new Tensor(handle);

Deno.test("operator reads a list of tensors", () => {
  using _scope = tensorScope();
  const split = operator(
    "aten::split.Tensor(Tensor self, SymInt split_size, int dim=0) -> Tensor[]",
    own,
  );
  const before = liveTensors();
  const parts = split(tensor([1, 2, 3, 4, 5]), 2);
  assert.deepEqual(parts.map((each) => [...each.toArray()]), [
    [1, 2],
    [3, 4],
    [5],
  ]);
  assert.equal(liveTensors(), before + 4);
});

Deno.test("operator reads whole numbers, negative ones and truth values", () => {
  using _scope = tensorScope();
  const size = operator("aten::size.int(Tensor self, int dim) -> int", own);
  assert.equal(size(zeros([3, 7]), -1), 7);
  const equal = operator("aten::equal(Tensor self, Tensor other) -> bool", own);
  assert.equal(equal(tensor([1]), tensor([1])), true);
  assert.equal(equal(tensor([1]), tensor([2])), false);
});

Deno.test("operator reads a tuple of tensors in order", () => {
  using _scope = tensorScope();
  const sort = operator(
    "aten::sort(Tensor self, int dim=-1, bool descending=False) -> (Tensor, Tensor)",
    own,
  );
  const [values, order] = sort(tensor([2, 3, 1]));
  assert.deepEqual([...values.toArray()], [1, 2, 3]);
  assert.deepEqual([...order.toArray()], [2, 0, 1]);
});

Deno.test("operator reads lists again and again without leaving memory", () => {
  const split = operator(
    "aten::split.Tensor(Tensor self, SymInt split_size, int dim=0) -> Tensor[]",
    own,
  );
  const round = (): void => {
    using _scope = tensorScope();
    const parts = split(zeros([1024, 1024]), 256);
    assert.equal(parts.length, 4);
  };
  for (let warm = 0; warm < 10; warm++) round();
  const before = Deno.memoryUsage().rss;
  for (let each = 0; each < 200; each++) round();
  assert.ok((Deno.memoryUsage().rss - before) / 2 ** 20 < 64);
});

Deno.test(
  "operator of a name that libtorch does not know says so when called",
  { ignore: !givesWords },
  () => {
    const unknown = operator("aten::no_such_op(Tensor self) -> Tensor", own);
    using x = tensor([1]);
    assert.throws(() => unknown(x), {
      name: "TorchError",
      message:
        "Cannot call aten::no_such_op: Could not find schema for aten::no_such_op",
    });
  },
);

Deno.test("operator refuses a freed tensor before libtorch sees it", () => {
  const neg = operator("aten::neg(Tensor self) -> Tensor", own);
  const x = tensor([1]);
  x[Symbol.dispose]();
  assert.throws(() => neg(x), {
    name: "TypeError",
    message: "Cannot use tensor: it has been freed",
  });
});
