/**
 * What goes wrong in silence at the border to libtorch: stale words on the stack,
 * results that a later call overwrites, signs, stale casts.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { libraries, operator, setAutocast } from "../../ffi/mod.ts";
import {
  deviceCode,
  isWhole,
  newEmpty,
  setRequiresGrad,
} from "../../ffi/tensor_handle.ts";
import type { TensorHandle } from "../../ffi/mod.ts";
import {
  aten,
  CPU,
  full,
  Tensor,
  tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";

const own = (handle: TensorHandle): Tensor => new Tensor(handle);

Deno.test("operator with fewer arguments than libtorch has leaves none of an earlier call's words", () => {
  using _scope = tensorScope();
  // libtorch's clone has a memory format behind self
  const clone = operator("aten::clone(Tensor self) -> Tensor", own);
  const x = tensor([1, 2]);
  aten.where(aten.gt(x, tensor([1, 1])), x, x);
  assert.deepEqual([...clone(x).toArray()], [1, 2]);
});

Deno.test("operator keeps all results while the first is taken over", () => {
  using _scope = tensorScope();
  const busy = (handle: TensorHandle): Tensor => {
    aten.neg(tensor([7, 7]));
    return own(handle);
  };
  const topk = operator(
    "aten::topk(Tensor self, SymInt k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor, Tensor)",
    busy,
  );
  const [values, indices] = topk(tensor([1, 9, 5]), 2);
  assert.deepEqual([...values.toArray()], [9, 5]);
  assert.deepEqual([...indices.toArray()].map(Number), [1, 2]);
});

Deno.test("operator reads a negative whole number", () => {
  using _scope = tensorScope();
  const getDevice = operator("aten::get_device(Tensor self) -> int", own);
  assert.equal(getDevice(tensor([1])), -1);
});

Deno.test("a refusal of many lines is told by its first", () => {
  // libtorch hands out the words of its errors since 2.13
  const { torch } = libraries();
  if (torch.torch_exception_get_what_without_backtrace === null) return;
  using _scope = tensorScope();
  // there are kernels for CUDA only
  const compress = operator(
    "aten::_cslt_compress(Tensor input) -> Tensor",
    own,
  );
  assert.throws(() => compress(tensor([[1, 2]])), {
    name: "TorchError",
    message: /^Cannot call aten::_cslt_compress: Could not run [^\n]*[^.\n]$/,
  });
});

Deno.test("isWhole() knows whole numbers and truth values from floats", () => {
  using _scope = tensorScope();
  const whole = (dtype: Tensor["dtype"]): boolean =>
    isWhole(full([1], { value: 1, dtype }).unsafeHandle);
  assert.deepEqual(
    (["bool", "uint8", "int8", "int16", "int32", "int64"] as const).map(whole),
    Array(6).fill(true),
  );
  assert.deepEqual(
    (["float16", "bfloat16", "float32", "float64"] as const).map(whole),
    Array(4).fill(false),
  );
});

Deno.test("deviceCode() gives a CPU no index", () => {
  assert.equal(deviceCode(CPU), 0xffffffffn);
});

Deno.test("newEmpty() refuses more dimensions than libtorch has room for", () => {
  assert.throws(
    () => newEmpty(Array(65).fill(1), { dtype: "float32", device: CPU }),
    {
      name: "RangeError",
      message: "Cannot make tensor of 65 dimensions: at most 64 are possible",
    },
  );
});

Deno.test("libraries() knows the version that the dispatcher wants back", () => {
  const { version } = libraries();
  assert.equal(version >> 56n, 2n);
  assert.ok(((version >> 48n) & 0xffn) >= 11n);
});

Deno.test("setAutocast() off forgets the casts of weights that may change", () => {
  using _scope = tensorScope();
  const weight = full([1, 1], { value: 2 });
  setRequiresGrad(weight.unsafeHandle, true);
  const product = (): number => {
    setAutocast(CPU, "bfloat16");
    try {
      return aten.linear(tensor([[1]]), weight).item();
    } finally {
      setAutocast(CPU, null);
    }
  };
  assert.equal(product(), 2);
  weight.unsafeBytes().set(new Uint8Array(new Float32Array([5]).buffer));
  assert.equal(product(), 5);
});
