/**
 * GGUF files, llama.cpp's format: pairs of names and values, then a list of tensors,
 * then their bytes, plain or packed in blocks. All that is read is checked against
 * the file's size first; the tensors' bytes are not read.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { byteLengthOf, type DType } from "./dtype.ts";
import { FileBytes } from "./file_bytes.ts";
import { fileInfo } from "./file_info.ts";
import { GgufReader, type GgufValue } from "./gguf_values.ts";
import { packedLength, type Packing, PACKINGS } from "./packed_blocks.ts";
import type { StoredTensor } from "./stored_tensor.ts";

/** What a GGUF file says. */
export interface GgufFile {
  /** The path of the file. */
  readonly path: string;
  /** The values by name. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** The tensors by their names in the file, sizes in PyTorch's order. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** ggml's numbers of the types that are read. */
const TYPES: ReadonlyMap<number, DType | Packing> = new Map<
  number,
  DType | Packing
>([
  [0, "float32"],
  [1, "float16"],
  [2, "Q4_0"],
  [3, "Q4_1"],
  [6, "Q5_0"],
  [7, "Q5_1"],
  [8, "Q8_0"],
  [10, "Q2_K"],
  [11, "Q3_K"],
  [12, "Q4_K"],
  [13, "Q5_K"],
  [14, "Q6_K"],
  [30, "bfloat16"],
]);
const KNOWN_TYPES = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, " +
  "Q3_K, Q4_K, Q5_K and Q6_K";
const MAX_DIMENSIONS = 4;
const MAX_ALIGNMENT = 2 ** 20;

/**
 * The GGUF file that `path` names: itself, or the only one in a folder without
 * `config.json`; `null` where it names none.
 *
 * @throws {InputError} when a folder has several and nothing else to load.
 */
export function ggufFileAt(path: string): string | null {
  const info = fileInfo(path);
  if (info?.isFile) return /\.gguf$/i.test(path) ? path : null;
  if (!info?.isDirectory || fileInfo(`${path}/config.json`) !== null) {
    return null;
  }
  const names = [...Deno.readDirSync(path)].map(({ name }) => name)
    .filter((name) => /\.gguf$/i.test(name)).sort();
  if (names.length > 1) {
    throw new InputError(
      `Cannot load model ${quoted(path)}: it has ${names.length} GGUF files (${
        names.slice(0, 5).map((name) => quoted(name)).join(", ")
      }), name one of them`,
    );
  }
  return names.length === 1 ? `${path}/${names[0]}` : null;
}

/**
 * Reads what the GGUF file at `path` says.
 *
 * @throws {InputError} naming the file, the tensor and what is wrong with it.
 */
export function readGguf(path: string): GgufFile {
  using file = new FileBytes(path);
  file.refuseLfsPointer();
  const reader = new GgufReader(file);
  const { tensorCount, valueCount } = readStart(reader);
  const metadata = new Map<string, GgufValue>();
  for (let index = 0; index < valueCount; index++) {
    const name = reader.text();
    if (metadata.has(name)) reader.fail(`it has ${quoted(name)} twice`);
    metadata.set(name, reader.value(name));
  }
  const kind = metadata.get("general.type") ?? "model";
  if (kind !== "model") {
    reader.fail(`it holds ${quoted(kind)}, a model is needed`);
  }
  const parts = metadata.get("split.count") ?? 1;
  if (parts !== 1) {
    reader.fail(
      `it is one of ${
        quoted(parts)
      } parts, join them with \`llama-gguf-split --merge\``,
    );
  }
  const infos: TensorInfo[] = [];
  for (let index = 0; index < tensorCount; index++) {
    infos.push(readTensorInfo(reader));
  }
  return { path, metadata, tensors: placeTensors(reader, metadata, infos) };
}

function readStart(
  reader: GgufReader,
): { tensorCount: number; valueCount: number } {
  if (reader.size < 24 || reader.uint32() !== 0x46554747) {
    reader.fail('it does not start with "GGUF", it is not a GGUF file');
  }
  const version = reader.uint32();
  if (version !== 2 && version !== 3) {
    const isSwapped = version === 0x02000000 || version === 0x03000000;
    reader.fail(
      isSwapped
        ? "its numbers are big-endian, only little is read"
        : `it is of version ${version}, 2 and 3 are read`,
    );
  }
  // the least that a tensor and a pair take
  return {
    tensorCount: reader.count("tensors", 24),
    valueCount: reader.count("values", 13),
  };
}

interface TensorInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: DType | Packing;
  readonly offset: number;
}

function readTensorInfo(reader: GgufReader): TensorInfo {
  const name = reader.text();
  const fail = (reason: string): never =>
    reader.fail(`tensor ${quoted(name)} ${reason}`);
  const dimensions = reader.uint32();
  if (dimensions > MAX_DIMENSIONS) {
    fail(
      `has ${dimensions} dimensions, at most ${MAX_DIMENSIONS} are possible`,
    );
  }
  // the file has the fastest dimension first
  const shape = Array.from({ length: dimensions }, () => reader.uint64())
    .reverse();
  const number = reader.uint32();
  const type = TYPES.get(number);
  if (type === undefined) {
    return fail(`is of ggml's type ${number}, ${KNOWN_TYPES} are read`);
  }
  const width = shape.at(-1) ?? 1;
  if (type in PACKINGS && width % PACKINGS[type as Packing].numbers !== 0) {
    fail(
      `has rows of ${width} numbers, ${type} needs multiples of ${
        PACKINGS[type as Packing].numbers
      }`,
    );
  }
  let elements = 1;
  for (const size of shape) elements *= size;
  if (!(elements <= 2 ** 48)) {
    fail(`has shape [${shape.join(", ")}], which no memory holds`);
  }
  return { name, shape, type, offset: reader.uint64() };
}

/** The tensors' places: each begins where the one before it ended, filled up to the alignment. */
function placeTensors(
  reader: GgufReader,
  metadata: GgufFile["metadata"],
  infos: readonly TensorInfo[],
): Map<string, StoredTensor> {
  const alignment = metadata.get("general.alignment") ?? 32;
  if (
    typeof alignment !== "number" || alignment > MAX_ALIGNMENT ||
    !(alignment >= 8) || !Number.isInteger(Math.log2(alignment))
  ) {
    reader.fail(
      `its general.alignment is ${
        quoted(alignment)
      }, a power of two from 8 on is needed`,
    );
  }
  const aligned = (at: number): number => Math.ceil(at / alignment) * alignment;
  const start = aligned(reader.at);
  const tensors = new Map<string, StoredTensor>();
  let next = 0;
  for (const { name, shape, type, offset } of infos) {
    const tensor = storedAs(type, {
      file: reader.path,
      offset: start + offset,
      shape,
    });
    if (tensors.has(name)) reader.fail(`it has tensor ${quoted(name)} twice`);
    if (offset !== next) {
      reader.fail(
        `tensor ${
          quoted(name)
        } starts at byte ${offset} of the data where ${next} is next`,
      );
    }
    const end = tensor.offset + storedLength(tensor);
    if (end > reader.size) {
      reader.fail(
        `tensor ${
          quoted(name)
        } ends at byte ${end} but the file has ${reader.size}, the file is cut short`,
      );
    }
    next = aligned(end - start);
    tensors.set(name, tensor);
  }
  return tensors;
}

function storedAs(
  type: DType | Packing,
  place: Pick<StoredTensor, "file" | "offset" | "shape">,
): StoredTensor {
  return type in PACKINGS
    ? { ...place, dtype: "float32", packing: type as Packing }
    : { ...place, dtype: type as DType };
}

function storedLength(tensor: StoredTensor): number {
  const { shape, packing } = tensor;
  return packing === undefined
    ? byteLengthOf(tensor)
    : packedLength({ shape, packing });
}
