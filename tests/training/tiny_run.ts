/**
 * Small things to train: a model of two layers, rows of several lengths, settings,
 * and a folder that lives as long as one test.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { TrainingArguments } from "../../lib/arguments/settings.ts";
import { trainingArguments } from "../../lib/arguments/train_arguments.ts";
import {
  type Batch,
  type Feature,
  IGNORED_LABEL,
  paddedBatch,
} from "../../lib/data/batch.ts";
import type { TensorData } from "../../lib/formats/dtype.ts";
import { InputError } from "../../lib/input_error.ts";
import { getPeftModel, type LoraConfig } from "../../lib/peft/mod.ts";
import {
  type LogRow,
  Trainer,
  type TrainerOptions,
  type TrainOptions,
  type TrainOutput,
} from "../../lib/training/mod.ts";
import { seeded } from "../formats/temporary.ts";

/** Folder of the fixture models. */
export const MODELS = "tests/fixtures/models";
/** Folder of the adapters and golden numbers that peft made. */
export const GOLDEN = "tests/fixtures/peft";
/** A tokenizer as far as padding needs it. */
export const PAD = { padTokenId: 0, unkTokenId: null } as const;

/** A row that is trained from the id at `from` on, counted from 0. */
export function rowOf(input_ids: readonly number[], from: number): Feature {
  return {
    input_ids,
    labels: input_ids.map((id, at) => at < from ? IGNORED_LABEL : id),
  };
}

/** `count` rows of 4 to 12 ids below 96. */
export function tinyRows(count: number, seed = 1): Feature[] {
  const random = seeded(seed);
  const below = (limit: number): number =>
    Math.floor(random.next().value * limit);
  return Array.from({ length: count }, () => {
    const ids = Array.from({ length: 4 + below(9) }, () => 3 + below(93));
    return rowOf(ids, below(4));
  });
}

/** A training batch of the golden `ids` and `labels`. */
export function goldenBatch(tensors: ReadonlyMap<string, TensorData>): Batch {
  const [inputIds, labels] = ["ids", "labels"].map((name) => {
    const { bytes } = tensors.get(name)!;
    return new BigInt64Array(bytes.slice().buffer);
  });
  const [rows = 0] = tensors.get("ids")!.shape;
  return paddedBatch({
    inputIds: inputIds!,
    labels: labels!,
    rows,
    tokens: inputIds!.length,
  });
}

/** Settings for a short run. */
export function tinyArguments(
  values: Partial<TrainingArguments> = {},
): TrainingArguments {
  return trainingArguments({
    per_device_train_batch_size: 2,
    gradient_accumulation_steps: 2,
    learning_rate: 0.01,
    logging_steps: 1,
    save_strategy: "no",
    ...values,
  });
}

/** The adapter of a run that asks for no other. */
export const TINY_LORA: Partial<LoraConfig> = {
  r: 2,
  lora_dropout: 0.1,
  target_modules: ["q_proj", "down_proj"],
};

/** A run: what to train in which folder. */
export interface TinyRun {
  readonly folder: string;
  /** Name of a fixture model, or a path. Default `llama_gqa`. */
  readonly model?: string;
  /** The adapter; `null` trains the whole model. */
  readonly lora?: Partial<LoraConfig> | null;
  readonly args?: Partial<TrainingArguments>;
  readonly rows?: readonly Feature[];
  readonly options?: Partial<TrainerOptions>;
  readonly train?: TrainOptions;
}

/** What a run left. */
export interface TinyResult {
  readonly output: TrainOutput;
  readonly history: readonly LogRow[];
  /** Checkpoint folders in the order they were written. */
  readonly saved: readonly string[];
  readonly warnings: readonly string[];
}

/** Trains, and saves weights and state into the folder unless the run was aborted. */
export async function train(run: TinyRun): Promise<TinyResult> {
  const { model = "llama_gqa" } = run;
  using base = AutoModelForCausalLM.fromPretrained(
    model.includes("/") ? model : `${MODELS}/${model}`,
  );
  const lora = run.lora === undefined ? TINY_LORA : run.lora;
  using adapter = lora === null ? null : getPeftModel(base, lora, { seed: 42 });
  const saved: string[] = [];
  const warnings: string[] = [];
  using trainer = new Trainer({
    model: adapter ?? base,
    tokenizer: PAD,
    args: tinyArguments({ output_dir: run.folder, ...run.args }),
    trainDataset: run.rows ?? tinyRows(7),
    ...run.options,
    callbacks: [
      {
        onSave: (folder) => saved.push(folder),
        onWarning: (message) => warnings.push(message),
      },
      ...run.options?.callbacks ?? [],
    ],
  });
  const output = await trainer.train(run.train);
  if (output.interruptedAt === null) {
    trainer.saveModel();
    trainer.saveState();
  }
  return { output, history: trainer.state.logHistory, saved, warnings };
}

/** The message of the InputError that a run ends with; its folder is called "F" in it. */
export async function refusal(run: TinyRun): Promise<string> {
  try {
    await train(run);
  } catch (error) {
    assert(error instanceof InputError, `${error} is not an InputError`);
    return error.message.replaceAll(run.folder, "F");
  }
  throw new Error("nothing was thrown");
}

/** Gives `use` a new folder and removes it afterwards. */
export async function inFolder<T>(
  use: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = Deno.makeTempDirSync();
  try {
    return await use(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

/** What lies in `folder`, by name. */
export function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

/** The float32 numbers of a stored tensor. */
export function numbersOf(data: TensorData): Float32Array {
  return new Float32Array(data.bytes.slice().buffer);
}
