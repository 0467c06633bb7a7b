/**
 * Tokenises a file of rows in the recipe's format, with or without a cache folder;
 * prints seconds, tokens and the process's peak memory as JSON, for `rows.py`.
 *
 * @module
 */

import { loadDataset, modelFilesKey } from "../lib/data/mod.ts";
import { AutoTokenizer } from "../lib/tokenizer/mod.ts";

async function main(
  [model = "", rows = "", folder = ""]: readonly string[],
): Promise<void> {
  const tokenizer = await AutoTokenizer.fromPretrained(model);
  const started = performance.now();
  const { preflight, description } = await loadDataset(rows, {
    tokenizer,
    config: { eos_token_id: tokenizer.eosTokenId ?? 2 },
    maxSeqLength: 512,
    promptFormat: "recipe",
    cache: { folder, tokenizerKey: modelFilesKey(model) },
  });
  const seconds = (performance.now() - started) / 1000;
  const status = Deno.readTextFileSync("/proc/self/status");
  console.log(JSON.stringify({
    seconds,
    peak_mb: Number(/VmHWM:\s+(\d+)/.exec(status)![1]) / 1e3,
    tokens: preflight.tokens,
    rows: preflight.rows,
    cached: description.includes("; tokenised in an earlier run"),
  }));
}

if (import.meta.main) main(Deno.args);
