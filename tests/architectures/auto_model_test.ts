/**
 * Logits of every kind of Llama against transformers', from files that
 * `tests/fixtures/make_models.py` made.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { TensorData } from "../../lib/formats/dtype.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import {
  fromData,
  liveTensors,
  noGrad,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";

const FOLDER = "tests/fixtures/models";

/** The first `length` columns of `ids`. */
function firstColumns(ids: TensorData, length: number): TensorData {
  const [rows = 0, columns = 0] = ids.shape;
  const bytes = new Uint8Array(rows * length * 8);
  for (let row = 0; row < rows; row++) {
    const start = row * columns * 8;
    bytes.set(ids.bytes.subarray(start, start + length * 8), row * length * 8);
  }
  return { dtype: "int64", shape: [rows, length], bytes };
}

for (const { name } of Deno.readDirSync(FOLDER)) {
  Deno.test(`AutoModelForCausalLM.fromPretrained() computes ${name} as transformers does`, () => {
    const before = liveTensors();
    const golden = readSafetensors(`${FOLDER}/${name}/golden.safetensors`);
    {
      using model = AutoModelForCausalLM.fromPretrained(`${FOLDER}/${name}`);
      using _scope = tensorScope();
      using _frozen = noGrad();
      for (const part of ["logits", "logits_5"]) {
        const expected = golden.get(part)!;
        const ids = firstColumns(golden.get("ids")!, expected.shape[1]!);
        const logits = model.forward(fromData(ids));
        assertClose(logits.toArray(), fromData(expected).toArray(), {
          limit: 2e-6,
          what: part,
        });
      }
    }
    assert.equal(liveTensors(), before);
  });
}
