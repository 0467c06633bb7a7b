/**
 * What a command prints for each kind of error, and the code it exits with.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";
import { aten, tensor, tensorScope } from "../../lib/tensor/mod.ts";
import { reportOf } from "../../tasks/report_error.ts";

Deno.test("reportOf() tells what a user gave in one sentence, with the error's code", () => {
  const flags = new InputError("Cannot use --x 1: no", { exitCode: 2 });
  assert.deepEqual(reportOf(flags), {
    text: "Cannot use --x 1: no",
    exitCode: 2,
  });
  assert.equal(reportOf(new InputError("Cannot")).exitCode, 1);
});

Deno.test("reportOf() gives libtorch's words without a stack", () => {
  using _scope = tensorScope();
  try {
    aten.mul(tensor([1, 2]), tensor([1, 2, 3]));
    assert.fail("two shapes were multiplied that do not fit");
  } catch (error) {
    const { text, exitCode } = reportOf(error);
    assert.match(text, /must match the size/);
    assert.doesNotMatch(text, /file:/);
    assert.equal(exitCode, 1);
  }
});

Deno.test("reportOf() keeps the stack of a mistake of ours", () => {
  const { text, exitCode } = reportOf(new TypeError("oops"));
  assert.match(text, /TypeError: oops\n.*report_error_test\.ts/);
  assert.equal(exitCode, 1);
  assert.equal(reportOf("thrown").text, "thrown");
});
