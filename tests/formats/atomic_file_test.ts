/**
 * A file that cannot be written is told in one sentence and leaves nothing behind.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  writeFailure,
  writeFileAtomic,
} from "../../lib/formats/atomic_file.ts";
import { InputError } from "../../lib/input_error.ts";
import { errorOf, inFolder } from "./temporary.ts";

Deno.test("writeFileAtomic says why a file cannot be written, and leaves the old one", () => {
  inFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/file`, "old");
    assert.equal(
      errorOf(() => writeFileAtomic(`${folder}/file/x`, "new")),
      `Cannot write "${folder}/file/x": not a directory`,
    );
    function* broken(): Generator<Uint8Array> {
      yield new Uint8Array(3);
      throw new RangeError("ours");
    }
    assert.throws(
      () => writeFileAtomic(`${folder}/file`, broken()),
      RangeError,
    );
    assert.deepEqual([...Deno.readDirSync(folder)].map((e) => e.name), [
      "file",
    ]);
    assert.equal(Deno.readTextFileSync(`${folder}/file`), "old");
  });
});

Deno.test("writeFailure tells a full disk by its path, and gives other errors back", () => {
  const told = writeFailure(
    "out/x",
    new Error("No space left on device (os error 28)"),
  );
  assert(told instanceof InputError);
  assert.equal(told.message, 'Cannot write "out/x": no space left on device');
  assert.equal(writeFailure("out/y", told), told);
  const ours = new TypeError("ours");
  assert.equal(writeFailure("out/x", ours), ours);
});
