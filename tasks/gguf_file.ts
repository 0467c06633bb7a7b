/**
 * Writes a merged model, or an adapter, as a GGUF file, then reads the file again:
 * settings, tokens and logits must be those of what was written.
 *
 * @module
 */

import { GgufWording, readConfig } from "../lib/architectures/mod.ts";
import {
  type GgufPairs,
  type GgufTensor,
  type GgufTensorType,
  packQ8,
  writeGguf,
} from "../lib/formats/gguf_writer.ts";
import { quoted } from "../lib/input_error.ts";
import type { MergedModel } from "../lib/peft/mod.ts";
import { aten, full, type Tensor, to } from "../lib/tensor/mod.ts";
import { ggufTokenizerPairs } from "../lib/tokenizer/mod.ts";
import { AutoTokenizer, type DType, InputError } from "../mod.ts";
import { compareWritten, type Comparison } from "./compare_logits.ts";
import type { BesideWeights } from "./merged_folder.ts";

/** How matrices are stored, by the names of llama.cpp's converter. */
const OUT_TYPES = {
  f32: { type: "F32", fileType: 0, dtype: "float32", bits: "float32" },
  f16: { type: "F16", fileType: 1, dtype: "float16", bits: "float16" },
  bf16: { type: "BF16", fileType: 32, dtype: "bfloat16", bits: "bfloat16" },
  q8_0: { type: "Q8_0", fileType: 7, dtype: "float32", bits: "q8_0" },
} as const satisfies Record<
  string,
  {
    readonly type: GgufTensorType;
    readonly fileType: number;
    readonly dtype: DType;
    /** What numbers are rounded to. */
    readonly bits: DType | "q8_0";
  }
>;

/** llama.cpp's name of a way to store matrices. */
export type OutType = keyof typeof OUT_TYPES;

/** The name of a model's file: that of its folder. */
export function fileStem(modelPath: string): string {
  const name = modelPath.replace(/\/+$/, "").split("/").at(-1) ?? "";
  const stem = name.replace(/\.gguf$/i, "").replace(/[^\w.-]+/g, "-");
  return stem.replace(/^[-.]+/, "") || "model";
}

/**
 * Writes `model` to `path`, and compares what is read there.
 *
 * @throws {InputError} when the family, the tokenizer or a number has no place in the
 *   format, or what is read again is something else.
 */
export async function writeModelGguf(
  path: string,
  { model, beside, outType }: {
    readonly model: MergedModel;
    readonly beside: BesideWeights;
    readonly outType: OutType;
  },
): Promise<Comparison> {
  const { config } = model.base;
  const wording = new GgufWording(config);
  const tokens = await tokenPairs(beside, config.vocabSize);
  const { fileType } = OUT_TYPES[outType];
  const text = (value: string): { text: string } => ({ text: value });
  const pairs: GgufPairs = [
    ["general.architecture", text(wording.name)],
    ["general.type", text("model")],
    ["general.name", text(modelName(beside.modelPath, config.modelType))],
    ["general.file_type", { u32: fileType }],
    ["general.quantization_version", { u32: 2 }],
    ...wording.pairs(),
    ...tokens,
  ];
  const tensors = [
    ...wording.derived().map(({ name, numbers }): GgufTensor => ({
      name,
      type: "F32",
      shape: [numbers.length],
      read: () => new Uint8Array(numbers.buffer),
    })),
    ...ggufTensors(model, { wording, outType }),
  ];
  writeGguf(path, { pairs, tensors });
  wording.refuseOther(readConfig(path));
  await refuseOtherTokens(path, beside);
  const { tokenizer } = beside;
  const { bits } = OUT_TYPES[outType];
  return await compareWritten(path, model, { path, tokenizer, bits });
}

/** llama.cpp tells Phi-3's special tokens by the model's name. */
function modelName(modelPath: string, modelType: string): string {
  const name = fileStem(modelPath);
  return modelType !== "phi3" || /phi-?3/i.test(name) ? name : `phi-3 ${name}`;
}

async function tokenPairs(
  beside: BesideWeights,
  vocabSize: number,
): Promise<GgufPairs> {
  const { tokenizer, modelPath, endIds, chatTemplate } = beside;
  if (tokenizer === null) return [];
  return await ggufTokenizerPairs(modelPath, {
    tokenizer,
    vocabSize,
    turnEndId: endIds[0] ?? null,
    chatTemplate: chatTemplate ?? tokenizer.chatTemplate,
  });
}

/** The weights as llama.cpp has them. */
function ggufTensors(
  model: MergedModel,
  { wording, outType }: {
    readonly wording: GgufWording;
    readonly outType: OutType;
  },
): GgufTensor[] {
  return model.weights.map(({ path, shape, merged }) => {
    const { name, interleavedHeads, added } = wording.place(path);
    const type = tensorType(shape, outType);
    const make = (): Tensor => {
      const weight = merged();
      const rows = interleavedHeads === undefined
        ? weight
        : interleaved(weight, interleavedHeads);
      return added === undefined ? rows : rows.add(full([1], { value: added }));
    };
    const dtype = DTYPES[type];
    const read = (): Uint8Array => {
      const bytes = model.hold(path, () => to(make(), { dtype }));
      return type === "Q8_0" ? packed(bytes) : bytes;
    };
    return { name, type, shape, read };
  });
}

const DTYPES = {
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  Q8_0: "float32",
} as const;

/** Vectors stay float32; rows that are no multiple of a block become float16. */
function tensorType(
  shape: readonly number[],
  outType: OutType,
): GgufTensorType {
  if (shape.length < 2) return "F32";
  const { type } = OUT_TYPES[outType];
  return type === "Q8_0" && shape.at(-1)! % 32 !== 0 ? "F16" : type;
}

function packed(bytes: Uint8Array): Uint8Array {
  return packQ8(
    new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4),
  );
}

/** Rows of each head's halves in turn, as llama.cpp turns neighbours. */
function interleaved(weight: Tensor, heads: number): Tensor {
  const [rows = 0, ...rest] = weight.shape;
  // [heads, 2, headSize / 2, …] → [heads, headSize / 2, 2, …]
  const halves = aten.reshape(weight, [heads, 2, rows / heads / 2, ...rest]);
  return aten.reshape(aten.transpose(halves, 1, 2), weight.shape);
}

const TEXTS = [
  "The quick brown fox jumps over 13 lazy dogs.\n\n  It's 4,096 times don't!",
  "你好，今天天气怎么样？ 数字 2024年。",
  "def f(x):\n\treturn  x ** 2  # ok\r\nÀé ñ 😀 end",
];

/** Compares the ids of texts. */
async function refuseOtherTokens(
  path: string,
  { tokenizer, modelPath }: BesideWeights,
): Promise<void> {
  if (tokenizer === null) return;
  const again = await AutoTokenizer.fromPretrained(path);
  for (const text of TEXTS) {
    const own = await tokenizer.encode(text);
    const read = await again.encode(text);
    if (own.join() === read.join()) continue;
    throw new InputError(
      `Cannot write the tokenizer of ${quoted(modelPath)} as GGUF: ${
        quoted(text)
      } would become ${read.slice(0, 12).join(" ")} instead of ${
        own.slice(0, 12).join(" ")
      }`,
    );
  }
}
