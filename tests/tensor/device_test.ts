/**
 * Device names as users type them.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { cudaIsAvailable } from "../../ffi/mod.ts";
import { CPU, deviceName, deviceNamed } from "../../lib/tensor/mod.ts";

Deno.test("deviceNamed knows cpu and auto", () => {
  assert.deepEqual(deviceNamed("cpu"), CPU);
  const auto = deviceNamed("auto");
  if (!cudaIsAvailable()) assert.deepEqual(auto, CPU);
  else assert.ok(["cpu", "cuda"].includes(auto.type));
});

Deno.test("deviceNamed refuses a name that means nothing, with exit code 2", () => {
  for (const name of ["gpu", "cuda:", "cuda:x", "CPU", ""]) {
    assert.throws(() => deviceNamed(name), {
      name: "InputError",
      exitCode: 2,
      message:
        `Cannot use device "${name}": it must be auto, cpu, cuda or cuda:N`,
    });
  }
});

Deno.test("deviceNamed gives a cuda device or says why there is none", () => {
  if (cudaIsAvailable()) {
    assert.deepEqual(deviceNamed("cuda:0"), { type: "cuda", index: 0 });
    return;
  }
  assert.throws(() => deviceNamed("cuda:1"), {
    name: "InputError",
    exitCode: 1,
    message: 'Cannot use device "cuda:1": this machine has no NVIDIA driver ' +
      "or this libtorch has no CUDA kernels, use --device cpu",
  });
});

Deno.test("deviceName spells devices as PyTorch does", () => {
  assert.equal(deviceName(CPU), "cpu");
  assert.equal(deviceName({ type: "cuda", index: 3 }), "cuda:3");
});
