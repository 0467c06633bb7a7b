/**
 * Tokens a second of greedy generation, of lorikeet and of transformers' `generate`
 * in turn, on the model folder that is named; medians of the rounds. Also tells how
 * many tokens of the answers agree before the first that differs. Either
 * `deno task bench --profile generation --size 135M`, or on any model
 * `deno run -A bench/generation.ts FOLDER [ROUNDS] [NEW_TOKENS]`.
 *
 * @module
 */

import { AutoModelForCausalLM } from "../lib/architectures/mod.ts";
import { generateBatch, keepWeightCopies } from "../lib/generation/mod.ts";
import { ensureLibtorch, setThreads } from "../lib/tensor/mod.ts";
import { median } from "./side_by_side.ts";

const PROMPT_TOKENS = 64;
/** Tokens generated before the measurement; weights are copied after 24. */
const WARM_TOKENS = 26;
const BATCHES = [1, 8] as const;
const DTYPES = ["float32", "bfloat16"] as const;

/** What is generated. */
interface Task {
  readonly folder: string;
  readonly dtype: (typeof DTYPES)[number];
  readonly prompts: readonly (readonly number[])[];
  readonly new_tokens: number;
  readonly warm_tokens: number;
  readonly threads: number;
}

/** What one run gives. */
interface Result {
  readonly tokens_per_s: number;
  readonly ids: readonly (readonly number[])[];
}

function measureHere(task: Task): Result {
  using model = AutoModelForCausalLM.fromPretrained(task.folder, {
    torchDtype: task.dtype,
  });
  using _copies = keepWeightCopies(model);
  const generated = (maxNewTokens: number): number[][] =>
    generateBatch(model, task.prompts, { maxNewTokens, eosTokenIds: [] });
  generated(WARM_TOKENS);
  const started = performance.now();
  const ids = generated(task.new_tokens);
  const seconds = (performance.now() - started) / 1000;
  return { tokens_per_s: ids.flat().length / seconds, ids };
}

function measurePython(task: Task): Result {
  const { success, stdout, stderr } = new Deno.Command("python3", {
    args: ["bench/generation.py", JSON.stringify(task)],
  }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const text = new TextDecoder().decode(stdout).trim().split("\n").at(-1)!;
  return JSON.parse(text);
}

/** How many tokens agree before the first that differs, in all rows together. */
function agreement(ours: Result, theirs: Result): number {
  return ours.ids.reduce((count, row, at) => {
    const first = row.findIndex((id, place) => id !== theirs.ids[at]![place]);
    return count + (first < 0 ? row.length : first);
  }, 0);
}

function compare(task: Task, rounds: number): void {
  const pairs = Array.from({ length: rounds }, () => ({
    theirs: measurePython(task),
    ours: measureHere(task),
  }));
  const ours = median(pairs.map((pair) => pair.ours.tokens_per_s));
  const theirs = median(pairs.map((pair) => pair.theirs.tokens_per_s));
  const [first] = pairs;
  const all = task.prompts.length * task.new_tokens;
  console.log(
    `${task.dtype}, batch ${task.prompts.length}: lorikeet ${
      ours.toFixed(1)
    } tokens/s, transformers ${theirs.toFixed(1)}, ratio ${
      (ours / theirs).toFixed(2)
    }; ${agreement(first!.ours, first!.theirs)} of ${all} tokens agree`,
  );
}

/** Compares both types and both batches on the model in `folder`, and prints the results. */
export function compareGeneration(
  folder: string,
  { rounds, newTokens }: { rounds: number; newTokens: number },
): void {
  const threads = navigator.hardwareConcurrency;
  setThreads(threads);
  for (const dtype of DTYPES) {
    for (const batch of BATCHES) {
      const prompts = Array.from({ length: batch }, (_, row) =>
        Array.from(
          { length: PROMPT_TOKENS },
          (_, at) => 100 + 37 * at + 11 * row,
        ));
      const task = {
        folder,
        dtype,
        prompts,
        threads,
        warm_tokens: WARM_TOKENS,
      };
      compare({ ...task, new_tokens: newTokens }, rounds);
    }
  }
}

async function main(
  [folder, rounds = "3", tokens = "64"]: readonly string[],
): Promise<void> {
  if (folder === undefined) {
    throw new Error("Cannot measure: name the folder of a model");
  }
  await ensureLibtorch();
  const chosen = { rounds: Number(rounds), newTokens: Number(tokens) };
  compareGeneration(folder, chosen);
}

if (import.meta.main) main(Deno.args);
