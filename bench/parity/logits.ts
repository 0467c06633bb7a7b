/**
 * Computes the logits of the folders that `families.py` makes, whole and from a
 * prefill and single steps, and prints for each a line of JSON with the largest
 * differences, or with the error.
 *
 * @module
 */

import {
  AutoModelForCausalLM,
  type CausalLm,
} from "../../lib/architectures/mod.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { KeyValueCache } from "../../lib/nn/mod.ts";
import {
  aten,
  fromData,
  noGrad,
  type Tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";

/** The flag for the logits of whole rows alone. */
const WHOLE = "--whole";
const isWhole = Deno.args.includes(WHOLE);

/** Tokens that a cache gets at once, before the single ones. */
const PREFILL = 9;

/** The largest difference, relative to the largest number that is wanted. */
function difference(actual: Tensor, wanted: Tensor): number {
  const [numbers, others] = [actual.toArray(), wanted.toArray()];
  let [most, largest] = [0, 1e-9];
  for (const [at, other] of others.entries()) {
    most = Math.max(most, Math.abs(numbers[at]! - other));
    largest = Math.max(largest, Math.abs(other));
  }
  return most / largest;
}

/** Logits of `ids` from a prefill and single steps. */
function cachedLogits(model: CausalLm, ids: Tensor): Tensor {
  const [rows = 0, length = 0] = ids.shape;
  const caches = model.decoderLayers.map(() => new KeyValueCache());
  const parts: Tensor[] = [];
  for (let at = 0; at < length;) {
    const end = at === 0 ? PREFILL : at + 1;
    const logits = model.forward(aten.slice(ids, 1, at, end), { caches });
    parts.push(aten.view(logits, [rows, end - at, -1]));
    at = end;
  }
  for (const cache of caches) cache[Symbol.dispose]();
  return aten.cat(parts, 1);
}

/** Logits of the last id of each text that {@linkcode cachedLogits} computes. */
function grownLogits(model: CausalLm, ids: Tensor): Tensor {
  const [rows = 0, length = 0] = ids.shape;
  const parts: Tensor[] = [];
  for (let end = PREFILL; end <= length; end++) {
    const logits = model.forward(aten.slice(ids, 1, 0, end));
    const whole = aten.view(logits, [rows, end, -1]);
    parts.push(
      end === PREFILL ? whole : aten.slice(whole, 1, end - 1, end),
    );
  }
  return aten.cat(parts, 1);
}

function differences(folder: string): Record<string, number> {
  const golden = readSafetensors(`${folder}/golden.safetensors`);
  using _scope = tensorScope();
  using _frozen = noGrad();
  const read = (name: string): Tensor => fromData(golden.get(name)!);
  const ids = read("ids");
  using model = AutoModelForCausalLM.fromPretrained(folder, {
    torchDtype: "float32",
  });
  if (isWhole) {
    return { logits: difference(model.forward(ids), read("logits")) };
  }
  const short = model.forward(aten.slice(ids, 1, 0, read("short").shape[1]!));
  const whole = model.forward(ids);
  return {
    short: difference(short, read("short")),
    logits: difference(whole, read("logits")),
    steps: difference(
      cachedLogits(model, ids),
      golden.has("steps") ? read("steps") : grownLogits(model, ids),
    ),
  };
}

for (const folder of Deno.args.filter((each) => each !== WHOLE)) {
  let said: Record<string, unknown>;
  try {
    said = differences(folder);
  } catch (error) {
    said = { error: String(error) };
  }
  console.log(JSON.stringify(said));
}
