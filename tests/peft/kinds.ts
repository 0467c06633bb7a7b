/**
 * The adapters that tests/fixtures/make_peft_kinds.py made, with what peft computes from
 * them.
 *
 * @module
 */

import type { TensorData } from "../../lib/formats/dtype.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import type { LoraConfig } from "../../lib/peft/mod.ts";
import { fromData, noGrad, tensorScope } from "../../lib/tensor/mod.ts";
import type { CausalLm } from "../../mod.ts";

/** What tests/fixtures/make_peft_kinds.py made. */
export const KINDS = "tests/fixtures/peft_kinds";
/** What peft puts before paths in the base model. */
export const PREFIX = "base_model.model.";

/** An adapter of peft, and what it computes. */
export interface Golden {
  /** Its configuration. */
  readonly config: Partial<LoraConfig>;
  /** The folder of its base model. */
  readonly base: string;
  /** The tensors of golden.safetensors. */
  readonly tensors: ReadonlyMap<string, TensorData>;
  /** The tensors whose names begin with `prefix`, without it and peft's. */
  part(prefix: string): Map<string, TensorData>;
}

/** The adapter `name`. */
export function golden(name: string): Golden {
  const folder = `${KINDS}/${name}`;
  const config = JSON.parse(
    Deno.readTextFileSync(`${folder}/adapter_config.json`),
  );
  const tensors = readSafetensors(`${folder}/golden.safetensors`);
  return {
    config,
    base: config.base_model_name_or_path,
    tensors,
    part: (prefix) =>
      new Map(
        [...tensors].filter(([key]) => key.startsWith(`${prefix}.`))
          .map(([key, data]) => [
            key.slice(prefix.length + 1).replace(PREFIX, ""),
            data,
          ]),
      ),
  };
}

/** The logits that `base` computes for the ids of an adapter. */
export function logitsOf(base: CausalLm, { tensors }: Golden): Float64Array {
  using _scope = tensorScope();
  using _frozen = noGrad();
  return base.forward(fromData(tensors.get("ids")!)).toArray();
}
