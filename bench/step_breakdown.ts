/**
 * Where the time of a training step goes, by the operators that libtorch is asked
 * for: matrix products, attention, dropout masks, copies, other operators element by
 * element, the head with the loss, the optimizer, and what is left, TypeScript and the
 * border to libtorch.
 *
 * `deno task bench --profile parts` prints them for the models and rows of the
 * bench; `deno run -A bench/step_breakdown.ts MODEL ROWS.jsonl [batch=4] [steps=3]
 * [dropout=0.1] [threads=1] [bf16=1] [length=768] [top=1]` prints the parts of a LoRA step on
 * rows of that file; `top=1` adds the operators that take longest.
 *
 * @module
 */

import { libraries } from "../ffi/mod.ts";
import { AutoModelForCausalLM } from "../lib/architectures/mod.ts";
import { trainingArguments } from "../lib/arguments/train_arguments.ts";
import { loadDataset, sharedRows } from "../lib/data/mod.ts";
import { getPeftModel } from "../lib/peft/mod.ts";
import { ensureLibtorch, setThreads } from "../lib/tensor/mod.ts";
import { AutoTokenizer } from "../lib/tokenizer/mod.ts";
import { StepEngine } from "../lib/training/step_engine.ts";
import { trainableModel } from "../lib/training/trainable_model.ts";

/** The parts of a step, in the order in which they are printed. */
export const PARTS = [
  "products",
  "attention",
  "masks",
  "elementwise",
  "copies",
  "autograd",
  "head",
  "optimizer",
  "border",
] as const;

/** One of {@linkcode PARTS}. */
export type Part = typeof PARTS[number];

/** What one operator took. */
export interface OperatorTime {
  /** The part it belongs to. */
  readonly part: Part;
  /** How often it was called. */
  calls: number;
  /** Milliseconds of all calls. */
  milliseconds: number;
}

/** What a run took. */
export interface Breakdown {
  /** Milliseconds of each part; their sum is the whole. */
  readonly parts: Readonly<Record<Part, number>>;
  /** The operators by name; those of the head have `head: ` in front. */
  readonly operators: ReadonlyMap<string, OperatorTime>;
  /** Number of calls over the border to libtorch. */
  readonly calls: number;
}

const PART_OF: Readonly<Record<string, Part>> = {
  ...named("products", "linear mm matmul bmm addmm_out baddbmm_out"),
  ...named(
    "attention",
    "_scaled_dot_product_flash_attention_for_cpu " +
      "_scaled_dot_product_flash_attention_for_cpu_backward " +
      "scaled_dot_product_attention softmax _softmax_backward_data",
  ),
  ...named("masks", "random_ ge bernoulli_"),
  ...named("copies", "copy_ cat reshape contiguous clone to"),
  ...named("autograd", "_backward"),
  ...named("optimizer", "_fused_adamw_ dot"),
  // these make another handle of the same memory
  ...named("border", "view transpose slice t unsqueeze expand detach is_leaf"),
};

function named(part: Part, names: string): Record<string, Part> {
  return Object.fromEntries(names.split(" ").map((name) => [name, part]));
}

/** A model, as far as the head is concerned. */
interface WithHead {
  head(hidden: never): unknown;
}

/**
 * Runs `run` once and measures its parts. What libtorch computes between a call of
 * `model.head` and the selection of trained rows of the gradient, or the reading of
 * the loss, belongs to the head.
 */
export function breakDown(model: WithHead, run: () => void): Breakdown {
  const opened = libraries() as { torch: Record<string, unknown> };
  const { torch } = opened;
  const operators = new Map<string, OperatorTime>();
  let calls = 0;
  let inHead = false;
  const timed = (name: string, call: () => unknown): unknown => {
    const started = performance.now();
    const result = call();
    const took = performance.now() - started;
    const part = PART_OF[name] ?? "elementwise";
    const isHead = inHead && part !== "border";
    const key = isHead ? `head: ${name}` : name;
    const known = operators.get(key) ??
      { part: isHead ? "head" : part, calls: 0, milliseconds: 0 };
    operators.set(key, known);
    known.calls++;
    known.milliseconds += took;
    return result;
  };
  const wrap = (name: string, native: (...values: unknown[]) => unknown) => {
    const own = /^aoti_torch_(?:aten|cpu)_(.*)$/.exec(name)?.[1];
    return (...values: unknown[]): unknown => {
      calls++;
      if (name === "aoti_torch_get_data_ptr") inHead = false;
      const operator = name === "torch_call_dispatcher"
        ? operatorName(values[0] as Uint8Array)
        : own;
      if (operator === "index_select") inHead = false;
      return operator === undefined
        ? native(...values)
        : timed(operator, () => native(...values));
    };
  };
  opened.torch = Object.fromEntries(
    Object.entries(torch).map(([name, native]) => [
      name,
      typeof native === "function" ? wrap(name, native as never) : native,
    ]),
  );
  const { head } = model;
  model.head = (hidden) => {
    inHead = true;
    return head.call(model, hidden);
  };
  const started = performance.now();
  try {
    run();
  } finally {
    opened.torch = torch;
    delete (model as Partial<WithHead>).head;
  }
  return summed(operators, { calls, whole: performance.now() - started });
}

/** `mm` of the C string `aten::mm`. */
function operatorName(name: Uint8Array): string {
  return new TextDecoder().decode(name.subarray(6, -1));
}

function summed(
  operators: ReadonlyMap<string, OperatorTime>,
  { calls, whole }: { calls: number; whole: number },
): Breakdown {
  const parts = Object.fromEntries(PARTS.map((part) => [part, 0])) as Record<
    Part,
    number
  >;
  for (const { part, milliseconds } of operators.values()) {
    parts[part] += milliseconds;
  }
  const native = PARTS.filter((part) => part !== "border")
    .reduce((sum, part) => sum + parts[part], 0);
  parts.border = whole - native;
  return { parts, operators, calls };
}

/** Milliseconds and share of each part, one a line. */
export function describeBreakdown(
  { parts, operators, calls }: Breakdown,
  top = 0,
): string {
  const whole = PARTS.reduce((sum, part) => sum + parts[part], 0);
  const line = (name: string, value: number, about: string): string =>
    `${name.padEnd(52)} ${value.toFixed(1).padStart(9)} ms ${about}`;
  const share = (value: number): string =>
    `${(100 * value / whole).toFixed(1).padStart(5)} %`;
  const longest = [...operators]
    .toSorted(([, a], [, b]) => b.milliseconds - a.milliseconds);
  return [
    ...PARTS.map((part) => line(part, parts[part], share(parts[part]))),
    line("all", whole, `${calls} calls of libtorch`),
    ...longest.slice(0, top).map(([name, each]) =>
      line(`  ${name}`, each.milliseconds, `${each.calls} calls`)
    ),
  ].join("\n");
}

const PROJECTIONS = ["q", "k", "v", "o", "gate", "up", "down"];

/** How the step is measured. */
export interface PartsOptions {
  /** Rows of a batch. Default 4. */
  readonly batch: number;
  /** Steps that are shown, after the first. Default 3. */
  readonly steps: number;
  /** Dropout of the adapter. Default 0.1. */
  readonly dropout: number;
  /** 1: compute in bfloat16. Default 0. */
  readonly bf16: number;
  /** 1: show the operators that take longest. Default 0. */
  readonly top: number;
  /** Rows are cut to this many tokens. Default 768. */
  readonly length: number;
}

const DEFAULTS: PartsOptions = {
  batch: 4,
  steps: 3,
  dropout: 0.1,
  bf16: 0,
  top: 0,
  length: 768,
};

/**
 * Trains the model in `folder` on the rows of `file` for some steps, prints the
 * parts of each, and returns the number of tokens of the last batch.
 */
export async function printParts(
  folder: string,
  file: string,
  options: PartsOptions,
): Promise<number> {
  const tokenizer = await AutoTokenizer.fromPretrained(folder);
  const { features } = await loadDataset(file, {
    tokenizer,
    config: { eos_token_id: tokenizer.eosTokenId ?? 2 },
    maxSeqLength: options.length,
    promptFormat: "recipe",
  });
  using model = AutoModelForCausalLM.fromPretrained(folder);
  using peft = getPeftModel(model, {
    r: 8,
    lora_alpha: 32,
    lora_dropout: options.dropout,
    target_modules: PROJECTIONS.map((name) => `${name}_proj`),
  });
  model.train();
  using engine = new StepEngine(
    trainableModel(peft),
    trainingArguments({ bf16: options.bf16 === 1 }),
  );
  let tokens = 0;
  for (let step = 0; step <= options.steps; step++) {
    const batch = sharedRows(
      features.slice(step * options.batch, (step + 1) * options.batch),
    );
    tokens = batch.inputIds.length;
    const run = (): void => {
      const input = { learningRate: 1e-4, seed: [0, step] };
      engine.step([batch], { ...input, loss: "tokens" });
    };
    if (step === 0) run(); // the first step warms up
    else {
      const found = breakDown(model, run);
      console.log(`step ${step}: ${tokens} tokens`);
      console.log(describeBreakdown(found, 20 * options.top));
    }
  }
  return tokens;
}

async function main(
  [folder = "", file = "", ...rest]: readonly string[],
): Promise<void> {
  const { threads = 1, ...given } = Object.fromEntries(
    rest.map((each) => each.split("=")).map(([k, v]) => [k, Number(v)]),
  );
  await ensureLibtorch();
  setThreads(threads);
  await printParts(folder, file, { ...DEFAULTS, ...given });
}

if (import.meta.main) main(Deno.args);
