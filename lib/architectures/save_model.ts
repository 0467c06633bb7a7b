/**
 * Saves a whole model in Hugging Face format.
 *
 * @module
 */

import type { DType } from "../formats/dtype.ts";
import { type PythonJson, writePythonJson } from "../formats/python_json.ts";
import { writeSafetensors } from "../formats/safetensors.ts";
import type { LazyTensor } from "../formats/tensor_source.ts";
import { aten, CPU, DetachedScope, type Tensor, to } from "../tensor/mod.ts";
import type { CausalLm } from "./causal_lm.ts";
import { tiedName } from "./weights.ts";

/** Options of {@linkcode saveModel}. */
export interface SaveModelOptions {
  /** Type of the weights on disk. Default: the type they have. */
  readonly dtype?: DType;
}

/**
 * Writes `config.json` and `model.safetensors` of `model` into `folder`, which is
 * made if it does not exist, one tensor at a time. A head that is tied to the
 * embedding is left out, as in transformers; `config.json` says where an adapter
 * that was merged has made two matrices of it.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM, saveModel } from "@lorikeet/lorikeet";
 *
 * const folder = Deno.makeTempDirSync();
 * using model = AutoModelForCausalLM.fromPretrained("models/tiny-atom");
 * saveModel(model, folder, { dtype: "bfloat16" });
 * {
 *   using saved = AutoModelForCausalLM.fromPretrained(folder);
 *   const [first] = saved.namedParameters();
 *   if (first?.tensor.dtype !== "bfloat16") throw new Error("unexpected type");
 * }
 * Deno.removeSync(folder, { recursive: true });
 * ```
 */
export function saveModel(
  model: CausalLm,
  folder: string,
  options: SaveModelOptions = {},
): void {
  Deno.mkdirSync(folder, { recursive: true });
  const tied = tiedName(model);
  const named = [...model.namedParameters()].filter(({ path }) =>
    path !== tied
  );
  const dtype = options.dtype ?? named.at(-1)?.tensor.dtype ?? "float32";
  using stream = new Stream();
  writeSafetensors(
    `${folder}/model.safetensors`,
    named.map((
      { path, tensor },
    ) => [path, stream.tensor(tensor, options.dtype)]),
    { metadata: { format: "pt" } },
  );
  writeConfig(model, folder, { dtype, isTied: tied !== null });
}

/**
 * Writes `config.json` of `model` into `folder`, for weights of the type `dtype`; a
 * head that is not `isTied` to the embedding any more is told.
 */
export function writeConfig(
  model: CausalLm,
  folder: string,
  { dtype, isTied }: { readonly dtype: DType; readonly isTied: boolean },
): void {
  const { source, tieWordEmbeddings } = model.config;
  const config = {
    ...source,
    dtype,
    // the older spelling, which must not say another type
    ...("torch_dtype" in source && { torch_dtype: dtype }),
    ...(tieWordEmbeddings && !isTied && { tie_word_embeddings: false }),
  } as PythonJson;
  writePythonJson(`${folder}/config.json`, config, { trailingNewline: true });
}

/** Returns the bytes of one tensor at a time, converted when they are needed. */
class Stream implements Disposable {
  #held = new DisposableStack();

  /**
   * `tensor` for writing in the type `dtype`; its bytes stay valid until the
   * next tensor is read.
   */
  tensor(tensor: Tensor, dtype: DType = tensor.dtype): LazyTensor {
    const read = (): Uint8Array => {
      this.#held.dispose();
      this.#held = new DisposableStack();
      using scope = new DetachedScope();
      const onCpu = to(tensor, { device: CPU, dtype });
      const packed = scope.keep(aten.contiguous(onCpu));
      return this.#held.use(packed).unsafeBytes();
    };
    return { dtype, shape: tensor.shape, read };
  }

  /** Frees the tensor that was read last. */
  [Symbol.dispose](): void {
    this.#held.dispose();
  }
}
