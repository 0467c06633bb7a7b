/**
 * Weights of a model in one safetensors file, or in several with an index, split and
 * named as `save_pretrained` of transformers does.
 *
 * @module
 */

import { byteLengthOf, elementCount } from "./dtype.ts";
import { writePythonJson } from "./python_json.ts";
import { writeSafetensors } from "./safetensors.ts";
import type { NamedTensors, TensorSource } from "./tensor_source.ts";

type Named = readonly [string, TensorSource];

/**
 * Writes `tensors` into `folder` one at a time: `model.safetensors`, or files of at
 * most `maxBytes` each and their index. A larger tensor gets a file of its own.
 *
 * @returns the names of the files with weights.
 * @throws {InputError} with the file system's reason, such as a full disk.
 */
export function writeShards(
  folder: string,
  tensors: NamedTensors,
  { maxBytes }: { readonly maxBytes: number },
): string[] {
  const shards = shardsOf([...tensors], maxBytes);
  const nameOf = (index: number): string =>
    shards.length === 1
      ? "model.safetensors"
      : `model-${padded(index + 1)}-of-${padded(shards.length)}.safetensors`;
  for (const [index, shard] of shards.entries()) {
    writeSafetensors(`${folder}/${nameOf(index)}`, shard);
  }
  if (shards.length > 1) {
    const all = shards.flat();
    const sum = (sizeOf: (tensor: TensorSource) => number): number =>
      all.reduce((total, [, tensor]) => total + sizeOf(tensor), 0);
    const metadata = {
      total_parameters: sum(({ shape }) => elementCount(shape)),
      total_size: sum(byteLengthOf),
    };
    const weight_map = Object.fromEntries(
      shards.flatMap((shard, index) =>
        shard.map(([name]) => [name, nameOf(index)])
      ),
    );
    writePythonJson(
      `${folder}/model.safetensors.index.json`,
      { metadata, weight_map },
      { trailingNewline: true },
    );
  }
  return shards.map((_, index) => nameOf(index));
}

function padded(count: number): string {
  return String(count).padStart(5, "0");
}

/** As `split_torch_state_dict_into_shards` of huggingface_hub. */
function shardsOf(tensors: readonly Named[], maxBytes: number): Named[][] {
  const shards: Named[][] = [];
  let open: Named[] = [];
  let bytes = 0;
  for (const named of tensors) {
    const length = byteLengthOf(named[1]);
    if (length > maxBytes) {
      shards.push([named]);
      continue;
    }
    if (bytes + length > maxBytes) {
      shards.push(open);
      open = [];
      bytes = 0;
    }
    open.push(named);
    bytes += length;
  }
  if (open.length > 0 || shards.length === 0) shards.push(open);
  return shards;
}
