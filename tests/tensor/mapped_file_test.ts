/**
 * Tensors over a file mapped into memory.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  assertMappedFilesUnchanged,
  aten,
  MappedFile,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { InputError } from "../../lib/input_error.ts";

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
  assert.throws(() => new MappedFile("no/such/file"), {
    name: "InputError",
    message: 'Cannot load "no/such/file": no such file or directory',
  });
  withFile(new Uint8Array(0), (path) => {
    assert.throws(() => new MappedFile(path), {
      name: "InputError",
      message:
        `Cannot load "${path}": its 0 bytes cannot be mapped into memory`,
    });
  });
});

Deno.test("MappedFile gives no tensor that passes the end of the file", () => {
  withFile(new Uint8Array(24), (path) => {
    using file = new MappedFile(path);
    const beyond = [[24, 1], [0, 25], [-1, 4], [8, 2 ** 40], [2 ** 50, 0]];
    for (const [offset, count] of beyond) {
      assert.throws(
        () => file.tensor(offset!, { dtype: "uint8", shape: [count!] }),
        (error) =>
          error instanceof InputError &&
          error.message.endsWith("was wanted, the file has 24"),
      );
    }
  });
});

/** What another process may do to a file in use, and whether that is noticed. */
const CHANGES: Record<string, (path: string) => void> = {
  "is cut short": (path) => Deno.truncateSync(path, 4096),
  "is cut to nothing": (path) => Deno.truncateSync(path, 0),
  "grows": (path) => Deno.truncateSync(path, 2 ** 20),
  "is written into": (path) => {
    using file = Deno.openSync(path, { write: true });
    file.writeSync(Uint8Array.of(1));
    Deno.utimeSync(path, new Date(), new Date(Date.now() + 5000));
  },
};

for (const [change, make] of Object.entries(CHANGES)) {
  Deno.test(`a mapped file that ${change} is an InputError before its pages are read`, () => {
    withFile(new Uint8Array(65536), (path) => {
      using file = new MappedFile(path);
      using x = file.tensor(0, { dtype: "uint8", shape: [65536] });
      assertMappedFilesUnchanged();
      make(path);
      const refused = {
        name: "InputError",
        message:
          `Cannot go on with "${path}": another program changed the file while it was in use, ` +
          "start again with a file that stays as it is (a new one may take its name)",
      };
      assert.throws(() => assertMappedFilesUnchanged(), refused);
      assert.throws(
        () => file.tensor(0, { dtype: "uint8", shape: [1] }),
        refused,
      );
      assert.equal(x.size, 65536);
    });
    assertMappedFilesUnchanged();
  });
}

Deno.test("a mapped file may lose its name to another: the mapped one lives on", () => {
  withFile(new Uint8Array(8).fill(7), (path) => {
    using file = new MappedFile(path);
    using x = file.tensor(0, { dtype: "uint8", shape: [8] });
    Deno.writeFileSync(`${path}.new`, new Uint8Array(2));
    Deno.renameSync(`${path}.new`, path);
    assertMappedFilesUnchanged();
    assert.deepEqual([...x.toArray()], Array(8).fill(7));
  });
});
