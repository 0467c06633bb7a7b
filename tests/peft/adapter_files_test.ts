/**
 * Adapter folders: names in all their forms, the seed's archive, and what does not
 * fit reported at once.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import {
  type DType,
  DTYPE_BYTES,
  type TensorData,
} from "../../lib/formats/dtype.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import { readTorchArchive } from "../../lib/formats/torch_archive.ts";
import {
  getPeftModel,
  PeftModel,
  writeAdapterArchive,
} from "../../lib/peft/mod.ts";
import { liveTensors, toData } from "../../lib/tensor/mod.ts";
import { errorOf, inFolder } from "../formats/temporary.ts";

const TRAINED = "tests/fixtures/peft/trained";
const FIRST = "model.layers.0.self_attn.o_proj";

/** Loads the adapter in `folder` and gives its tensors. */
function load(folder: string): Map<string, TensorData> {
  using base = AutoModelForCausalLM.fromPretrained(
    "tests/fixtures/models/llama_gqa",
  );
  using model = PeftModel.fromPretrained(base, folder);
  return new Map(
    Array.from(model.stateDict(), ([name, tensor]) => [name, toData(tensor)]),
  );
}

/** Writes the golden adapter with its tensors changed into `folder`. */
function writeChanged(
  folder: string,
  change: (
    tensors: Map<string, TensorData>,
  ) => Iterable<readonly [string, TensorData]>,
): void {
  Deno.copyFileSync(
    `${TRAINED}/adapter_config.json`,
    `${folder}/adapter_config.json`,
  );
  const tensors = readSafetensors(`${TRAINED}/adapter_model.safetensors`);
  writeSafetensors(
    `${folder}/adapter_model.safetensors`,
    new Map(change(tensors)),
  );
}

/** The error about the golden adapter with its tensors changed. */
function errorReading(
  change: (tensors: Map<string, TensorData>) => void,
): string {
  return inFolder((folder) => {
    writeChanged(folder, (tensors) => {
      change(tensors);
      return tensors;
    });
    return errorOf(() => load(folder)).replaceAll(folder, "F");
  });
}

Deno.test("PeftModel.fromPretrained() reads names with an adapter's name and without peft's prefix", () => {
  const expected = load(TRAINED);
  const forms: ((name: string) => string)[] = [
    (name) => name.replace(/\.weight$/, ".default.weight"),
    (name) => name.replace(/^base_model\.model\./, ""),
    (name) => `base_model.model.${name}`,
  ];
  for (const form of forms) {
    inFolder((folder) => {
      writeChanged(
        folder,
        (tensors) =>
          Array.from(tensors, ([name, data]) => [form(name), data] as const),
      );
      assert.deepEqual(load(folder), expected, form("a.weight"));
    });
  }
});

Deno.test("PeftModel.fromPretrained() makes float32 masters of half-precision files", () => {
  inFolder((folder) => {
    writeChanged(
      folder,
      (tensors) =>
        Array.from(tensors, ([name, { shape, bytes }]) =>
          [name, {
            dtype: "bfloat16",
            shape,
            // The upper half of a little-endian float32 is a bfloat16.
            bytes: bytes.filter((_, at) => at % 4 >= 2),
          }] as const),
    );
    for (const { dtype } of load(folder).values()) {
      assert.equal(dtype, "float32");
    }
  });
});

Deno.test("PeftModel.fromPretrained() names missing, misshapen and unexpected tensors, all at once", () => {
  const before = liveTensors();
  const message = errorReading((tensors) => {
    const name = `base_model.model.${FIRST}.lora_A.weight`;
    const data = tensors.get(name)!;
    tensors.delete(name);
    tensors.set(`base_model.model.${FIRST}.lora_B.weight`, data);
    tensors.set("base_model.model.lm_head.lora_A.weight", data);
  });
  assert.equal(
    message,
    `Cannot load adapter "F" into this model: "${FIRST}.lora_A.weight" is missing; ` +
      `"${FIRST}.lora_B.weight" has shape [4, 32], the model and adapter_config.json ask for [32, 4]; ` +
      '"lm_head.lora_A.weight" is for a layer that the adapter does not target',
  );
  assert.equal(liveTensors(), before);
});

Deno.test("PeftModel.fromPretrained() refuses numbers that are not finite, in every type, naming the tensors", () => {
  const before = liveTensors();
  // Bits of NaN, Infinity and −Infinity, and a float64 beyond float32's range.
  const broken: readonly (readonly [DType, bigint])[] = [
    ["float32", 0x7fc00000n],
    ["float32", 0x7f800000n],
    ["bfloat16", 0xff80n],
    ["float16", 0x7c00n],
    ["float16", 0xfe00n],
    ["float64", 0x7ff0000000000000n],
    ["float64", 0x7fe0000000000000n],
  ];
  for (const [dtype, bits] of broken) {
    const message = errorReading((tensors) => {
      const name = `base_model.model.${FIRST}.lora_B.weight`;
      const { shape } = tensors.get(name)!;
      const width = DTYPE_BYTES[dtype];
      const bytes = new Uint8Array(width * shape[0]! * shape[1]!);
      for (let byte = 0; byte < width; byte++) {
        bytes[5 * width + byte] = Number((bits >> BigInt(8 * byte)) & 255n);
      }
      tensors.set(name, { dtype, shape, bytes });
    });
    assert.equal(
      message,
      `Cannot load adapter "F" into this model: "${FIRST}.lora_B.weight" has numbers that are not finite`,
    );
  }
  assert.equal(liveTensors(), before);
});

Deno.test("PeftModel.fromPretrained() shows control characters of names as escapes", () => {
  const message = errorReading((tensors) => {
    const [data] = tensors.values();
    tensors.set("\u001b[31mred\u0007", data!);
  });
  assert.match(
    message,
    /: "\\u001b\[31mred\\u0007" is for a layer that the adapter does not target$/,
  );
});

Deno.test("PeftModel.fromPretrained() refuses two tensors for one parameter", () => {
  const name = `base_model.model.${FIRST}.lora_A`;
  const message = errorReading((tensors) => {
    tensors.set(`${name}.default.weight`, tensors.get(`${name}.weight`)!);
  });
  assert.equal(
    message,
    `Cannot load adapter "F" into this model: "${FIRST}.lora_A.default.weight" is for a layer that the adapter does not target`,
  );
});

Deno.test("PeftModel.fromPretrained() counts problems beyond the tenth", () => {
  const message = errorReading((tensors) => {
    for (const name of [...tensors.keys()].slice(0, 13)) tensors.delete(name);
  });
  assert.match(message, /; and 3 more$/);
});

Deno.test("PeftModel.fromPretrained() refuses a folder without weights or without configuration", () => {
  inFolder((folder) => {
    assert.match(
      errorOf(() => load(folder)),
      /adapter_config\.json/,
    );
    Deno.copyFileSync(
      `${TRAINED}/adapter_config.json`,
      `${folder}/adapter_config.json`,
    );
    assert.equal(
      errorOf(() => load(folder)),
      `Cannot load adapter "${folder}": it has adapter_config.json, but neither adapter_model.safetensors nor adapter_model.bin`,
    );
  });
});

Deno.test("writeAdapterArchive() writes the names of the safetensors, and loads as they do", () => {
  inFolder((folder) => {
    using base = AutoModelForCausalLM.fromPretrained(
      "tests/fixtures/models/llama_gqa",
    );
    using model = PeftModel.fromPretrained(base, TRAINED);
    writeAdapterArchive(folder, model.stateDict());
    const archive = readTorchArchive(`${folder}/adapter_model.bin`);
    assert.deepEqual(
      [...archive],
      Array.from(model.stateDict(), ([name, tensor]) => [name, toData(tensor)]),
    );
    Deno.copyFileSync(
      `${TRAINED}/adapter_config.json`,
      `${folder}/adapter_config.json`,
    );
    assert.deepEqual(load(folder), load(TRAINED));
  });
});

Deno.test("PeftModel.fromPretrained() reads adapter_model.safetensors where there is an adapter_model.bin too", () => {
  inFolder((folder) => {
    writeChanged(folder, (tensors) => tensors);
    using base = AutoModelForCausalLM.fromPretrained(
      "tests/fixtures/models/llama_gqa",
    );
    using other = getPeftModel(base, { r: 4 }, { seed: 3 });
    writeAdapterArchive(folder, other.stateDict());
    assert.deepEqual(load(folder), load(TRAINED));
  });
});
