/**
 * Files of torch.save in the format before PyTorch 1.6: read as the zip is, and one
 * test per way to be refused.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { readTorchArchive } from "../../lib/formats/torch_archive.ts";
import { errorReading, GOLDEN } from "./temporary.ts";

Deno.test("readTorchArchive reads the format before PyTorch 1.6 as it does the zip", () => {
  assert.deepEqual(
    readTorchArchive(`${GOLDEN}old_format.bin`),
    readTorchArchive(`${GOLDEN}adapter_model.bin`),
  );
});

/** The golden file of the format before 1.6 with other bytes in the place of `before`. */
function changedStream(before: string, after: string): Uint8Array {
  const latin1 = (bytes: Uint8Array): string =>
    Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const text = latin1(Deno.readFileSync(`${GOLDEN}old_format.bin`));
  assert(text.includes(before), `${before} is not there`);
  return Uint8Array.from(
    text.replace(before, after),
    (each) => each.charCodeAt(0),
  );
}

const STREAMS: readonly [string, () => Uint8Array, RegExp][] = [
  [
    "another version",
    () => changedStream("M\xe9\x03.", "M\xea\x03."),
    /^Cannot load "F": it has version 1002, only 1001 is read$/,
  ],
  [
    "a big-endian machine",
    () => changedStream("little_endianq\x02\x88", "little_endianq\x02\x89"),
    /^Cannot load "F": its numbers are big-endian, only little is read$/,
  ],
  [
    "a class that is not on the list",
    () => changedStream("ctorch._utils\n_rebuild_tensor_v2", "cos\nsystem"),
    /^Cannot load "F": its pickle names "os\.system", which is not on the list/,
  ],
  [
    "a storage that is cut short",
    () => Deno.readFileSync(`${GOLDEN}old_format.bin`).slice(0, -1),
    /^Cannot load "F": storage "\d+" ends at byte (\d+) but the file has \d+, the file is cut short$/,
  ],
  [
    "no storages",
    () => Deno.readFileSync(`${GOLDEN}old_format.bin`).slice(0, -60),
    /^Cannot load "F": its storages are missing, the file is cut short$/,
  ],
  [
    "pickles that are cut short",
    () => Deno.readFileSync(`${GOLDEN}old_format.bin`).slice(0, 100),
    /^Cannot load "F": its pickle is cut short$/,
  ],
];

for (const [what, content, message] of STREAMS) {
  Deno.test(`readTorchArchive refuses a file of the format before 1.6 with ${what}`, () => {
    assert.match(errorReading(content(), readTorchArchive), message);
  });
}
