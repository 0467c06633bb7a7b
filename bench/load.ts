/**
 * Loads the model folder that is named and computes the logits of eight ids; prints
 * seconds, the process's peak memory and one logit as JSON, for `load.py`.
 *
 * @module
 */

import { AutoModelForCausalLM } from "../lib/architectures/mod.ts";
import {
  aten,
  ensureLibtorch,
  fromData,
  noGrad,
  tensorScope,
} from "../lib/tensor/mod.ts";

async function main([folder = ""]: readonly string[]): Promise<void> {
  await ensureLibtorch();
  const started = performance.now();
  using _scope = tensorScope();
  using _ = noGrad();
  using model = AutoModelForCausalLM.fromPretrained(folder);
  const ids = BigInt64Array.from({ length: 8 }, (_, i) => BigInt(i + 3));
  const bytes = new Uint8Array(ids.buffer);
  const row = fromData({ dtype: "int64", shape: [8], bytes });
  const logits = model.forward(aten.unsqueeze(row, 0));
  const logit = aten.slice(aten.slice(logits, 0, 7), 1, 0, 1).item();
  const seconds = (performance.now() - started) / 1000;
  const status = Deno.readTextFileSync("/proc/self/status");
  const peak = Number(/VmHWM:\s+(\d+)/.exec(status)![1]) / 1e3;
  console.log(JSON.stringify({ seconds, peak_mb: peak, logit }));
}

if (import.meta.main) main(Deno.args);
