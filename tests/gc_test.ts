/**
 * Memory that libtorch borrows, lists and optionals under forced garbage
 * collection, in a process of its own (`gc_stress.ts`).
 *
 * @module
 */

import { strict as assert } from "node:assert";

Deno.test("borrowed memory, lists and optionals survive forced garbage collection", async () => {
  const script = new URL("gc_stress.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-A", "--v8-flags=--expose-gc", script],
  }).output();
  const decoder = new TextDecoder();
  assert.ok(success, decoder.decode(stderr));
  assert.equal(decoder.decode(stdout), "survived, 0 tensors left\n");
});
