/**
 * The error that carries libtorch's words.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { libraries } from "../../ffi/mod.ts";
import { TorchError } from "../../ffi/mod.ts";
import { aten, empty, tensorScope } from "../../lib/tensor/mod.ts";

/** libtorch hands out the words of its errors since 2.13. */
const givesWords =
  libraries().torch.torch_exception_get_what_without_backtrace !== null;

Deno.test("TorchError says which call failed and why", () => {
  const error = new TorchError("aten::mm", "no");
  assert.equal(error.message, "Cannot call aten::mm: no");
  assert.equal(error.call, "aten::mm");
  assert.equal(error.outOfMemory, false);
});

Deno.test("TorchError.outOfMemory knows libtorch's own words for it", {
  ignore: !givesWords,
}, () => {
  using _scope = tensorScope();
  assert.throws(
    () => empty([2 ** 47]),
    (error: unknown) => error instanceof TorchError && error.outOfMemory,
  );
  assert.throws(
    () => aten.mm(empty([2, 3]), empty([2, 3])),
    (error: unknown) => error instanceof TorchError && !error.outOfMemory,
  );
  const cuda = "CUDA out of memory. Tried to allocate 2.00 GiB";
  assert.equal(new TorchError("aten::mm", cuda).outOfMemory, true);
});
