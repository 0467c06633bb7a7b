/**
 * findWeights: which files it takes, and each way for a folder to be incomplete.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import type { TensorData } from "../../lib/formats/dtype.ts";
import { writeSafetensors } from "../../lib/formats/safetensors.ts";
import { writeTorchArchive } from "../../lib/formats/torch_archive.ts";
import { findWeights } from "../../lib/formats/weights.ts";
import { errorOf, inFolder } from "./temporary.ts";

function one(value: number): TensorData {
  return { dtype: "uint8", shape: [1], bytes: Uint8Array.of(value) };
}

function writeIndex(folder: string, map: unknown): void {
  const text = JSON.stringify({ metadata: {}, weight_map: map });
  Deno.writeTextFileSync(`${folder}/model.safetensors.index.json`, text);
}

/** The value and the file of each tensor in `folder`. */
function found(folder: string): Record<string, [number | undefined, string]> {
  const entries = [...findWeights(folder)].map((
    [name, { file, offset }],
  ) => [name, [
    Deno.readFileSync(file)[offset],
    file.slice(folder.length + 1),
  ]]);
  return Object.fromEntries(entries);
}

function complaintIn(prepare: (folder: string) => void): string {
  return inFolder((folder) => {
    prepare(folder);
    return errorOf(() => findWeights(folder)).replaceAll(folder, "F");
  });
}

Deno.test("findWeights prefers model.safetensors to a torch archive", () => {
  inFolder((folder) => {
    writeTorchArchive(`${folder}/pytorch_model.bin`, [["w", one(1)]]);
    assert.deepEqual(found(folder), { w: [1, "pytorch_model.bin"] });
    writeSafetensors(`${folder}/model.safetensors`, [["w", one(2)]]);
    assert.deepEqual(found(folder), { w: [2, "model.safetensors"] });
  });
});

Deno.test("findWeights follows an index to its shards and leaves what it does not name", () => {
  inFolder((folder) => {
    writeSafetensors(`${folder}/a.safetensors`, [["x", one(1)], ["y", one(2)]]);
    writeTorchArchive(`${folder}/b.bin`, [["z", one(3)]]);
    writeIndex(folder, { y: "a.safetensors", z: "b.bin" });
    assert.deepEqual(found(folder), {
      y: [2, "a.safetensors"],
      z: [3, "b.bin"],
    });
  });
});

Deno.test("findWeights names what it looked for in a folder without weights", () => {
  assert.equal(
    complaintIn(() => {}),
    'Cannot load weights from "F": it has none of "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"',
  );
});

Deno.test("findWeights names every missing shard", () => {
  const map = { w: "a.safetensors", x: "b.safetensors", y: "c.safetensors" };
  assert.equal(
    complaintIn((folder) => {
      writeSafetensors(`${folder}/b.safetensors`, [["x", one(1)]]);
      writeIndex(folder, map);
    }),
    'Cannot load "F/model.safetensors.index.json": "a.safetensors", "c.safetensors" missing beside it, 3 shards are needed',
  );
});

Deno.test("findWeights names a tensor that its shard lacks", () => {
  assert.equal(
    complaintIn((folder) => {
      writeSafetensors(`${folder}/a.safetensors`, [["x", one(1)]]);
      writeIndex(folder, { w: "a.safetensors" });
    }),
    'Cannot load "F/a.safetensors": it has no tensor "w", which "F/model.safetensors.index.json" says it has',
  );
});

for (
  const shard of ["../a.safetensors", "/a.bin", "b\\a.bin", "..", "a.txt", 3]
) {
  Deno.test(`findWeights refuses the shard name ${JSON.stringify(shard)}`, () => {
    assert.equal(
      complaintIn((folder) => writeIndex(folder, { w: shard })),
      `Cannot load "F/model.safetensors.index.json": it puts tensor "w" into ${
        JSON.stringify(shard)
      }, the name of a .safetensors or .bin file beside it is needed`,
    );
  });
}

Deno.test("findWeights refuses an index without a weight_map", () => {
  assert.equal(
    complaintIn((folder) => writeIndex(folder, ["a"])),
    'Cannot load "F/model.safetensors.index.json": its "weight_map" is not an object of tensor names and files',
  );
});
