/**
 * Tensors over a file mapped into memory.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { aten, MappedFile, tensorScope } from "../../lib/tensor/mod.ts";

function withFile(bytes: Uint8Array, work: (path: string) => void): void {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(path, bytes);
    work(path);
  } finally {
    Deno.removeSync(path);
  }
}

Deno.test("MappedFile gives tensors over the bytes from an offset on", () => {
  const bytes = new Uint8Array(24);
  new Float32Array(bytes.buffer, 8).set([1, 2, 3, 4]);
  withFile(bytes, (path) => {
    using file = new MappedFile(path);
    using _scope = tensorScope();
    const x = file.tensor(8, { dtype: "float32", shape: [2, 2] });
    assert.deepEqual([...x.toArray()], [1, 2, 3, 4]);
    assert.deepEqual([...aten.mm(x, x).toArray()], [7, 10, 15, 22]);
    const none = file.tensor(24, { dtype: "float32", shape: [0] });
    assert.equal(none.size, 0);
  });
});

Deno.test("MappedFile reads pages when they are used, 256 MiB cost nothing", () => {
  const path = Deno.makeTempFileSync();
  try {
    Deno.truncateSync(path, 256 * 2 ** 20);
    const before = Deno.memoryUsage().rss;
    using file = new MappedFile(path);
    using x = file.tensor(0, { dtype: "uint8", shape: [256 * 2 ** 20] });
    assert.equal(x.size, 256 * 2 ** 20);
    assert.ok(Deno.memoryUsage().rss - before < 32 * 2 ** 20);
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("MappedFile can be disposed of twice", () => {
  withFile(new Uint8Array(8), (path) => {
    const file = new MappedFile(path);
    file[Symbol.dispose]();
    file[Symbol.dispose]();
    assert.ok(Deno.statSync(path).isFile);
  });
});

Deno.test("MappedFile refuses a file that is missing or empty", () => {
  assert.throws(
    () => new MappedFile("no/such/file"),
    Deno.errors.NotFound,
  );
  withFile(new Uint8Array(0), (path) => {
    assert.throws(() => new MappedFile(path), {
      message: `Cannot map "${path}" of 0 bytes`,
    });
  });
});
