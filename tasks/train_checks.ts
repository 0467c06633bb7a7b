/**
 * All checks that need no weights: model folder, targets, adapter, checkpoint, output
 * folder, rows. So errors are reported before the user has to wait for loading.
 *
 * @module
 */

import {
  AutoModelForCausalLM,
  AutoTokenizer,
  type CausalLm,
  dataCollator,
  type Dataset,
  type Feature,
  InputError,
  type TrainArguments,
  type TrainingArguments,
} from "../mod.ts";
import type { StoredFormat } from "../lib/data/mod.ts";
import { checkWeights, readConfig } from "../lib/architectures/mod.ts";
import {
  checkOutputFolder,
  planTraining,
  resolveCheckpoint,
} from "../lib/training/mod.ts";
import { isFile } from "../lib/formats/file_info.ts";
import { quoted } from "../lib/input_error.ts";
import { listCheckpoints } from "../lib/training/output_folder.ts";
import { checkAdapter, type CheckedAdapter } from "./adapter_checks.ts";
import {
  checkAdapterFolder,
  checkModelFolder,
  checkOutputPath,
  checkRowsPath,
  warnOfOtherBase,
} from "./base_model.ts";
import { type DividedRows, dividedRows, loadRows } from "./run_rows.ts";
import { warn } from "./report_error.ts";
import { readStoredFormat } from "./stored_format.ts";

/** What the checks have read. */
export interface CheckedRun {
  /** The model without its weights. */
  readonly tree: CausalLm;
  readonly adapter: CheckedAdapter;
  readonly tokenizer: AutoTokenizer;
  readonly dataset: Dataset;
  /** Its rows, divided into those to train and those to evaluate. */
  readonly rows: DividedRows;
  /** The prompt format of the adapter that is trained further. */
  readonly storedFormat: StoredFormat | null;
}

/** What is checked besides settings, adapter, tokenizer and rows. */
export interface RunChecks {
  /** The output folder, which is written to for a moment. Default yes. */
  readonly output?: boolean;
  /** Names and shapes of the weights, from their files. Default yes. */
  readonly weights?: boolean;
}

/**
 * Checks a run.
 *
 * @throws {InputError} naming the file or flag and what is wrong with it.
 */
export async function checkRun(
  parsed: TrainArguments,
  { output = true, weights = true }: RunChecks = {},
): Promise<CheckedRun> {
  const { finetune, training } = parsed;
  checkModelFolder(finetune.model_path);
  const config = readConfig(finetune.model_path);
  const tree = AutoModelForCausalLM.fromConfig(config);
  const { output_dir, resume_from_checkpoint } = training;
  for (const path of [finetune.dataset_path].flat()) checkRowsPath(path);
  if (output) {
    checkOutputPath(output_dir);
    checkOutputFolder(output_dir);
  }
  const folder = resolveCheckpoint(output_dir, resume_from_checkpoint);
  if (finetune.checkpoint !== null) {
    checkAdapterFolder(finetune.checkpoint, "--checkpoint");
    warnOfOtherBase(finetune.checkpoint, finetune.model_path);
  }
  const adapter = checkAdapter(parsed, { model: tree, resumed: folder });
  if (weights) checkWeights(tree);
  const tokenizer = await AutoTokenizer.fromPretrained(finetune.model_path);
  checkPadding(tokenizer);
  const storedFormat = readStoredFormat(folder ?? finetune.checkpoint);
  const rows = { tokenizer, model: tree, storedFormat, seed: training.seed };
  const dataset = await loadRows(finetune, rows);
  warnOfOtherFormat(dataset, storedFormat);
  const divided = await dividedRows(parsed, {
    dataset,
    tokenizer,
    model: tree,
  });
  planTraining(divided.train.length, training);
  const isPadded = !finetune.shared_prefix || tree.paddingReason !== null;
  const all = [
    dataset.features,
    ...Object.values<Feature | readonly Feature[]>(divided.evaluation ?? {}),
  ].flat();
  checkVocabulary(all, {
    path: finetune.model_path,
    size: config.vocabSize,
    padding: isPadded ? tokenizer.padTokenId : null,
  });
  if (output && folder === null) warnOfEarlierRun(training);
  return { tree, adapter, tokenizer, dataset, rows: divided, storedFormat };
}

/**
 * Warns that `output_dir` has the files of another run: which are overwritten, and
 * which stay.
 */
function warnOfEarlierRun(
  { output_dir, overwrite_output_dir, save_total_limit }: TrainingArguments,
): void {
  if (overwrite_output_dir) return;
  const checkpoints = listCheckpoints(output_dir)
    .map((path) => path.split("/").at(-1));
  const held = [
    ...isFile(`${output_dir}/adapter_config.json`) ? ["adapter"] : [],
    ...checkpoints.length > 3
      ? [`${checkpoints.length} checkpoints up to ${checkpoints.at(-1)}`]
      : checkpoints,
  ];
  if (held.length === 0) return;
  const end = checkpoints.length === 0
    ? ""
    : save_total_limit === null
    ? ", checkpoints of other steps stay"
    : ", checkpoints of other steps stay until --save_total_limit removes them";
  warn(
    `${quoted(output_dir)} has an earlier run (${
      held.join(", ")
    }): files and ` +
      `checkpoints of the same name are overwritten${end}; another --output_dir keeps ` +
      "both runs, --overwrite_output_dir turns this warning off",
  );
}

/** Warns where `--prompt_format` is not what the adapter was trained in. */
function warnOfOtherFormat(
  { promptFormat: { name } }: Dataset,
  stored: StoredFormat | null,
): void {
  if (stored === null || stored.name === name) return;
  warn(
    `The adapter in ${quoted(stored.folder)} was trained in prompt format ` +
      `${stored.name}, this run trains in ${name}`,
  );
}

function checkPadding(tokenizer: AutoTokenizer): void {
  dataCollator([{ input_ids: [0], labels: [0] }], tokenizer);
}

function checkVocabulary(
  features: readonly Feature[],
  model: { path: string; size: number; padding: number | null },
): void {
  let highest = model.padding ?? 0;
  for (const { input_ids } of features) {
    for (const id of input_ids) if (id > highest) highest = id;
  }
  if (highest >= model.size) {
    throw new InputError(
      `Cannot train ${
        quoted(model.path)
      }: its tokenizer gives id ${highest}, but vocab_size in config.json is ${model.size}`,
    );
  }
}
