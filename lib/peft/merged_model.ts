/**
 * A base model with the adapter's layers merged into its weights one at a time, when
 * they are written: no more than one weight is in memory beside the mapped files.
 *
 * @module
 */

import { AutoModelForCausalLM, type CausalLm } from "../architectures/mod.ts";
import { tiedName } from "../architectures/weights.ts";
import type { DType } from "../formats/dtype.ts";
import type { LazyTensor } from "../formats/tensor_source.ts";
import { InputError, quoted } from "../input_error.ts";
import type { NamedParameter } from "../nn/mod.ts";
import {
  aten,
  CPU,
  DetachedScope,
  noGrad,
  releaseMappedPages,
  type Tensor,
  tensorScope,
  to,
} from "../tensor/mod.ts";
import type { WeightMerge } from "./adapter_kinds.ts";
import { weightMerges } from "./merge.ts";
import { PeftModel } from "./peft_model.ts";

/** A weight of a {@linkcode MergedModel}. */
export interface MergedWeight {
  /** Its name in the checkpoint. */
  readonly path: string;
  /** Sizes of the dimensions. */
  readonly shape: readonly number[];
  /** Its numbers, float32; the tensor belongs to the scope that is open. */
  merged(): Tensor;
}

/** Which models are merged. */
export interface MergedModelSource {
  /** Folder or GGUF file of the base model. */
  readonly modelPath: string;
  /** Folder of the adapter; `null`: the base model as it is. */
  readonly adapter: string | null;
}

/**
 * A base model and its adapter, and the weights that compute the same without it.
 *
 * @example
 * ```ts
 * import { MergedModel } from "@lorikeet/lorikeet/peft";
 *
 * using model = new MergedModel({
 *   modelPath: "tests/fixtures/models/llama_gqa",
 *   adapter: "tests/fixtures/peft/trained",
 * });
 * const names = model.weights.map(({ path }) => path);
 * if (!names.includes("lm_head.weight")) throw new Error("unexpected names");
 * ```
 */
export class MergedModel implements Disposable {
  /** The base model; the adapter is in it. */
  readonly base: CausalLm;
  /** The adapter, if there is one. */
  readonly adapter: PeftModel | null;
  /** The type of the base model's weights. */
  readonly dtype: DType;
  /** Whether the head is the embedding, as it is where no adapter tells them apart. */
  readonly isTied: boolean;
  /** All weights, a tied head left out, in the order of the tree. */
  readonly weights: readonly MergedWeight[];
  readonly #held = new DisposableStack();
  #read = new DisposableStack();

  /**
   * Opens the base model and loads the adapter into it.
   *
   * @throws {InputError} when one of them cannot be loaded, they do not fit, or the
   *   base model has no weights for what the adapter does.
   */
  constructor({ modelPath, adapter }: MergedModelSource) {
    using held = new DisposableStack();
    this.base = held.use(AutoModelForCausalLM.fromPretrained(modelPath));
    const named = [...this.base.namedParameters()];
    const head = tiedName(this.base);
    this.dtype = named.at(-1)?.tensor.dtype ?? "float32";
    this.adapter = adapter === null
      ? null
      : held.use(PeftModel.fromPretrained(this.base, adapter));
    const steps = this.adapter === null
      ? new Map<string, readonly WeightMerge["merged"][]>()
      : weightMerges(this.adapter.layers);
    const weights = named.map((each) => weightOf(each, steps.get(each.path)));
    this.isTied = head !== null && isStillTied(named, { head, weights, steps });
    this.weights = weights.filter(({ path }) => !this.isTied || path !== head);
    this.#held = held.move();
  }

  /**
   * The weights for a writer, in the type `dtype`. The bytes of one stay valid until
   * the next is read.
   *
   * @throws {InputError} from `read`, when a number would not be finite.
   */
  tensors(dtype: DType): [string, LazyTensor][] {
    return this.weights.map(({ path, shape, merged }) => [path, {
      dtype,
      shape,
      read: () => this.hold(path, () => to(merged(), { dtype })),
    }]);
  }

  /**
   * The bytes of the tensor that `make` returns, on the CPU; they stay valid until the
   * next are asked for. `path` is the weight's name in errors.
   *
   * @throws {InputError} when a number is not finite.
   */
  hold(path: string, make: () => Tensor): Uint8Array {
    this.#read.dispose();
    releaseMappedPages();
    this.#read = new DisposableStack();
    using scope = new DetachedScope();
    using _frozen = noGrad();
    const made = to(make(), { device: CPU });
    if (aten.all(aten.isfinite(made)).item() !== 1) {
      throw new InputError(
        `Cannot merge ${quoted(path)} of ${
          quoted(this.base.config.path)
        }: it would have numbers that are not finite in ${made.dtype}`,
      );
    }
    return this.#read.use(scope.keep(aten.contiguous(made))).unsafeBytes();
  }

  /** Ids of the tokens whose rows the adapter has trained one by one. */
  get trainedTokens(): readonly number[] {
    const given = (this.adapter?.config as Record<string, unknown> | undefined)
      ?.trainable_token_indices;
    const lists = typeof given === "object" && given !== null
      ? Object.values(given).flat()
      : [given];
    return lists.filter((id) => typeof id === "number");
  }

  /** Frees base model and adapter. */
  [Symbol.dispose](): void {
    this.#read.dispose();
    this.#held.dispose();
  }
}

function weightOf(
  { path, tensor }: NamedParameter,
  steps: readonly WeightMerge["merged"][] = [],
): MergedWeight {
  return {
    path,
    shape: [...tensor.shape],
    merged: () =>
      steps.reduce(
        (weight, step) => step(weight),
        to(tensor, { dtype: "float32" }),
      ),
  };
}

/** Whether embedding and head are the same numbers after the adapter was merged. */
function isStillTied(
  named: readonly NamedParameter[],
  merge: {
    readonly head: string;
    readonly weights: readonly MergedWeight[];
    readonly steps: ReadonlyMap<string, unknown>;
  },
): boolean {
  const shared = named.find(({ path }) => path === merge.head)?.tensor;
  const places = named.filter(({ tensor }) => tensor === shared)
    .map(({ path }) => path);
  if (places.every((path) => !merge.steps.has(path))) return true;
  using _scope = tensorScope();
  using _frozen = noGrad();
  const [one, other] = merge.weights.filter(({ path }) =>
    places.includes(path)
  );
  if (one === undefined || other === undefined) return true;
  return aten.all(aten.eq(one.merged(), other.merged())).item() === 1;
}
