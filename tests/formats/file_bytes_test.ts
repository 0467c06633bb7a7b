/**
 * FileBytes: exact ranges, and a sentence for each way to have none.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { FileBytes } from "../../lib/formats/file_bytes.ts";
import { errorOf, errorReading, GOLDEN, inFolder } from "./temporary.ts";

Deno.test("FileBytes.read gives a range at any place", () => {
  using file = new FileBytes(`${GOLDEN}python.json`);
  assert.equal(new TextDecoder().decode(file.read(4, 9)), '"10": 1,\n');
  assert.equal(new TextDecoder().decode(file.read(0, 2)), "{\n");
});

Deno.test("FileBytes.read refuses a range past the end", () => {
  const text = errorReading("abc", (path) => {
    using file = new FileBytes(path);
    file.read(2, 2);
  });
  assert.equal(text, 'Cannot load "F": byte 4 was wanted, the file has 3');
});

Deno.test("FileBytes names a path that is not a file", () => {
  const paths = ["none", "deno.json/none", "a\0b", "tests", "/dev/zero"];
  assert.deepEqual(paths.map((it) => errorOf(() => new FileBytes(it))), [
    'Cannot load "none": there is no such file',
    'Cannot load "deno.json/none": there is no such file',
    'Cannot load "a\\u0000b": there is no such file',
    'Cannot load "tests": it is a folder',
    'Cannot load "/dev/zero": it is not a regular file',
  ]);
});

Deno.test("FileBytes does not wait for a pipe that nobody writes into", () => {
  inFolder((folder) => {
    const path = `${folder}/pipe`;
    assert.ok(
      new Deno.Command("mkfifo", { args: [path] }).outputSync().success,
    );
    assert.equal(
      errorOf(() => new FileBytes(path)),
      `Cannot load "${path}": it is not a regular file`,
    );
  });
});
