/**
 * readSafetensors and writeSafetensors against Python's files and each other.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import type { TensorData } from "../../lib/formats/dtype.ts";
import { DTYPE_BYTES, elementCount } from "../../lib/formats/dtype.ts";
import type { DType } from "../../lib/formats/dtype.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import { GOLDEN, inFolder, seeded } from "./temporary.ts";

const TYPES = `${GOLDEN}types.safetensors`;

function tensor(...values: number[]): TensorData {
  const bytes = new Uint8Array(new Float32Array(values).buffer);
  return { dtype: "float32", shape: [values.length], bytes };
}

Deno.test("readSafetensors reads every element type of Python's file", () => {
  const tensors = readSafetensors(TYPES);
  const read = (name: string): Uint8Array =>
    tensors.get(name)?.bytes.slice() ?? new Uint8Array();
  const six = [0, 1, 2, 3, 4, 5];
  assert.deepEqual([...new Float64Array(read("t.float64").buffer)], six);
  assert.deepEqual([...new Float32Array(read("t.float32").buffer)], six);
  assert.deepEqual(
    [...new BigInt64Array(read("t.int64").buffer)].map(Number),
    six,
  );
  assert.deepEqual([...new Int16Array(read("t.int16").buffer)], six);
  assert.deepEqual([...read("t.bool")], [0, 1, 1, 1, 1, 1]);
  assert.deepEqual(tensors.get("scalar")?.shape, []);
  assert.deepEqual(tensors.get("empty")?.shape, [0, 3]);
});

Deno.test("writeSafetensors gives the bytes that Python gives", () => {
  const shuffled = [...readSafetensors(TYPES)].toReversed();
  inFolder((folder) => {
    writeSafetensors(`${folder}/out`, shuffled);
    assert.deepEqual(
      Deno.readFileSync(`${folder}/out`),
      Deno.readFileSync(TYPES),
    );
  });
});

Deno.test("writeSafetensors asks for a lazy tensor's bytes once, in file order", () => {
  const asked: string[] = [];
  const lazy = (name: string, size: number): [
    string,
    { dtype: DType; shape: number[]; read: () => Uint8Array },
  ] => [name, {
    dtype: "uint8",
    shape: [size],
    read: () => {
      asked.push(name);
      return new Uint8Array(size).fill(size);
    },
  }];
  inFolder((folder) => {
    writeSafetensors(`${folder}/out`, [lazy("b", 2), lazy("a", 1)]);
    assert.deepEqual(asked, ["a", "b"]);
    const read = readSafetensors(`${folder}/out`);
    assert.deepEqual([...read.get("b")?.bytes ?? []], [2, 2]);
  });
});

Deno.test("writeSafetensors keeps the old file when a tensor does not fit its shape", () => {
  inFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/out`, "old");
    const wrong = { dtype: "int64", shape: [2, 1], bytes: new Uint8Array(8) };
    assert.throws(
      () => writeSafetensors(`${folder}/out`, [["w", wrong as TensorData]]),
      {
        name: "RangeError",
        message:
          'Cannot write tensor "w": it has 8 bytes, int64 of shape [2, 1] takes 16',
      },
    );
    assert.equal(Deno.readTextFileSync(`${folder}/out`), "old");
    assert.equal([...Deno.readDirSync(folder)].length, 1);
  });
});

Deno.test("writeSafetensors refuses a name that comes twice", () => {
  assert.throws(
    () => writeSafetensors("never", [["w", tensor(1)], ["w", tensor(2)]]),
    { message: 'Cannot write tensors: "w" is there twice, names must differ' },
  );
});

Deno.test("writeSafetensors writes the given metadata, or none", () => {
  inFolder((folder) => {
    const header = (metadata: Record<string, string>): string => {
      writeSafetensors(`${folder}/out`, [], { metadata });
      return Deno.readTextFileSync(`${folder}/out`).slice(8).trimEnd();
    };
    assert.equal(header({ step: "3" }), '{"__metadata__":{"step":"3"}}');
    assert.equal(header({}), "{}");
  });
});

Deno.test("readSafetensors gives what writeSafetensors was given, for random shapes", () => {
  const random = seeded(7);
  const below = (limit: number): number =>
    Math.floor(random.next().value * limit);
  const dtypes = Object.keys(DTYPE_BYTES) as DType[];
  for (let round = 0; round < 20; round++) {
    const tensors = new Map<string, TensorData>();
    for (let index = below(6); index > 0; index--) {
      const dtype = dtypes[below(dtypes.length)] ?? "bool";
      const shape = Array.from({ length: below(4) }, () => below(5));
      const size = elementCount(shape) * DTYPE_BYTES[dtype];
      const bytes = Uint8Array.from({ length: size }, () => below(256));
      tensors.set(`層.${below(1000)}."${index}`, { dtype, shape, bytes });
    }
    inFolder((folder) => {
      writeSafetensors(`${folder}/out`, tensors);
      assert.deepEqual(readSafetensors(`${folder}/out`), tensors);
    });
  }
});
