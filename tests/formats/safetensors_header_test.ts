/**
 * readSafetensorsHeader: what it says, and one test per way to be malformed.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { readSafetensorsHeader } from "../../lib/formats/safetensors_header.ts";
import { errorOf, errorReading, GOLDEN, inFolder } from "./temporary.ts";

/** A file with `header` and `count` bytes after it. */
function file(header: string | Uint8Array, count: number): Uint8Array {
  const text = typeof header === "string"
    ? new TextEncoder().encode(header)
    : header;
  const bytes = new Uint8Array(8 + text.length + count);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

function entry(
  begin: number,
  end: number,
  fields: Record<string, unknown> = {},
): Record<string, unknown> {
  const shape = [(end - begin) / 4];
  return { dtype: "F32", shape, data_offsets: [begin, end], ...fields };
}

Deno.test("readSafetensorsHeader gives type, shape and place of each tensor", () => {
  const path = `${GOLDEN}types.safetensors`;
  const { metadata, tensors } = readSafetensorsHeader(path);
  assert.deepEqual([...metadata], [["format", "pt"]]);
  assert.equal(tensors.size, 19);
  const tensor = tensors.get("t.bfloat16");
  assert.ok(tensor);
  assert.deepEqual([tensor.file, tensor.dtype, tensor.shape], [
    path,
    "bfloat16",
    [2, 3],
  ]);
  const bytes = Deno.readFileSync(path).slice(tensor.offset, tensor.offset + 4);
  assert.deepEqual([...bytes], [0, 0, 0x80, 0x3f]);
});

Deno.test("readSafetensorsHeader reads the name __proto__ as any other", () => {
  const header = `{"__proto__":${JSON.stringify(entry(0, 4))}}`;
  inFolder((folder) => {
    Deno.writeFileSync(`${folder}/model`, file(header, 4));
    const { tensors } = readSafetensorsHeader(`${folder}/model`);
    assert.deepEqual([...tensors.keys()], ["__proto__"]);
  });
});

Deno.test("readSafetensorsHeader names a file that does not exist", () => {
  assert.equal(
    errorOf(() => readSafetensorsHeader("no.safetensors")),
    'Cannot load "no.safetensors": there is no such file',
  );
});

const long = new Uint8Array(8).fill(0xff);
const cases: readonly [string, Uint8Array, string][] = [
  [
    "shorter than eight bytes",
    new Uint8Array(7),
    "the file has 7 bytes, a safetensors file at least 8, the file is cut short",
  ],
  [
    "that is a Git LFS pointer",
    new TextEncoder().encode("version https://git-lfs.github.com/spec/v1"),
    "it is a Git LFS pointer, fetch the real file with `git lfs pull`",
  ],
  [
    "with an enormous header",
    long,
    "its header would take 18446744073709551615 bytes, at most 100000000 are allowed, it is not a safetensors file",
  ],
  [
    "that ends inside the header",
    file("{}      ", 0).slice(0, 12),
    "the header ends at byte 16 but the file has 12, the file is cut short",
  ],
  [
    "with a header that is not UTF-8",
    file(Uint8Array.of(0x7b, 0xff, 0x7d), 0),
    "its header is not UTF-8, it is not a safetensors file",
  ],
  [
    "with a header that is not JSON",
    file('{"a" 1}', 0),
    'its header is not JSON, line 1, column 6 has "1"',
  ],
  [
    "with a header that is not an object",
    file("[]", 0),
    'its header is not a JSON object, it must start with "{"',
  ],
  [
    "with spaces before the header",
    file(" {}", 0),
    'its header is not a JSON object, it must start with "{"',
  ],
  [
    "with a name twice",
    file(`{"a":${JSON.stringify(entry(0, 4))},"\\u0061":{}}`, 4),
    'its header has the key "a" twice, keys must differ',
  ],
  [
    "with metadata that is not a string",
    file('{"__metadata__":{"step":1}}', 0),
    'its __metadata__ has 1 under "step", values must be strings',
  ],
];

/** Headers of tensors named "w", and what is wrong. */
const entries: readonly [string, Record<string, unknown> | number, string][] = [
  ["no description", 5, "is described by no JSON object"],
  [
    "an unknown type",
    entry(0, 4, { dtype: "F4_E2M1" }),
    'has dtype "F4_E2M1", known are BOOL, U8, I8, F8_E5M2, F8_E4M3, I16, F16, BF16, I32, F32, F64, I64',
  ],
  [
    "a negative size",
    entry(0, 4, { shape: [-1] }),
    "has shape [-1], whole numbers are needed",
  ],
  [
    "a broken size",
    entry(0, 4, { shape: [1.5] }),
    "has shape [1.5], whole numbers are needed",
  ],
  [
    "three offsets",
    entry(0, 4, { data_offsets: [0, 4, 8] }),
    "has data_offsets [0,4,8], two whole numbers are needed",
  ],
  [
    "no offsets",
    { dtype: "F32", shape: [] },
    "has data_offsets undefined, two whole numbers are needed",
  ],
  [
    "an unknown field",
    entry(0, 4, { device: "cpu" }),
    'has the unknown field "device"',
  ],
  [
    "an end before its begin",
    entry(4, 0, { shape: [1] }),
    "ends at 0, before its begin 4",
  ],
  [
    "a shape beyond all memory",
    entry(0, 4, { shape: [2 ** 40, 2 ** 40, 0] }),
    "has shape [1099511627776, 1099511627776, 0], which no memory holds",
  ],
  [
    "a shape far beyond its bytes",
    entry(0, 4, { shape: [2 ** 40] }),
    "has 4 bytes, float32 of shape [1099511627776] takes 4398046511104",
  ],
  [
    "more dimensions than a tensor can have",
    entry(0, 4, { shape: Array(65).fill(1) }),
    "has 65 dimensions, at most 64 are possible",
  ],
  [
    "bytes that do not fit its shape",
    entry(0, 4, { shape: [2] }),
    "has 4 bytes, float32 of shape [2] takes 8",
  ],
];

const layouts: readonly [string, Record<string, unknown>, string][] = [
  [
    "a gap before the first tensor",
    { a: entry(4, 8) },
    'tensor "a" starts at byte 66 where 62 is next, a gap is not allowed',
  ],
  [
    "an overlap",
    { a: entry(0, 4), b: entry(0, 4) },
    'tensor "b" starts at byte 115 where 119 is next, an overlap is not allowed',
  ],
  [
    "a tensor that is cut off",
    { "lm_head.weight": entry(0, 12) },
    'tensor "lm_head.weight" ends at byte 88 but the file has 84, the file is cut short',
  ],
  [
    "bytes after the last tensor",
    { a: entry(0, 4) },
    "its tensors end at byte 66 but the file has 70, bytes after the tensors are not allowed",
  ],
];

for (const [what, bytes, expected] of cases) {
  Deno.test(`readSafetensorsHeader refuses a file ${what}`, () => {
    assert.equal(
      errorReading(bytes, readSafetensorsHeader),
      `Cannot load "F": ${expected}`,
    );
  });
}

for (const [what, value, expected] of entries) {
  Deno.test(`readSafetensorsHeader refuses a tensor with ${what}`, () => {
    assert.equal(
      errorReading(
        file(JSON.stringify({ w: value }), 4),
        readSafetensorsHeader,
      ),
      `Cannot load "F": tensor "w" ${expected}`,
    );
  });
}

for (const [what, header, expected] of layouts) {
  Deno.test(`readSafetensorsHeader refuses ${what}`, () => {
    assert.equal(
      errorReading(file(JSON.stringify(header), 8), readSafetensorsHeader),
      `Cannot load "F": ${expected}`,
    );
  });
}
