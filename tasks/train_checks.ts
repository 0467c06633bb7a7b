/**
 * All that can be found wrong before weights are loaded: model folder, targets,
 * adapter, checkpoint, output folder, rows. Complaints come before the wait.
 *
 * @module
 */

import {
  AutoTokenizer,
  checkOutputFolder,
  dataCollator,
  type Dataset,
  InputError,
  loadDataset,
  planTraining,
  readConfig,
  resolveCheckpoint,
  type TrainArguments,
} from "../mod.ts";
import { checkAdapter, type CheckedAdapter } from "./adapter_checks.ts";
import {
  checkAdapterFolder,
  checkModelFolder,
  warnOfOtherBase,
} from "./base_model.ts";

/** What the checks read on their way. */
export interface CheckedRun {
  readonly adapter: CheckedAdapter;
  readonly tokenizer: AutoTokenizer;
  readonly dataset: Dataset;
}

/**
 * Checks a run.
 *
 * @throws {InputError} saying what is wrong with which file or flag.
 */
export async function checkRun(parsed: TrainArguments): Promise<CheckedRun> {
  const { finetune, training } = parsed;
  checkModelFolder(finetune.model_path);
  const config = readConfig(finetune.model_path);
  const { output_dir, resume_from_checkpoint } = training;
  checkOutputFolder(output_dir);
  const folder = resolveCheckpoint(output_dir, resume_from_checkpoint);
  if (finetune.checkpoint !== null) {
    checkAdapterFolder(finetune.checkpoint, "--checkpoint");
    warnOfOtherBase(finetune.checkpoint, finetune.model_path);
  }
  const adapter = checkAdapter(parsed, folder);
  const tokenizer = await AutoTokenizer.fromPretrained(finetune.model_path);
  checkPadding(tokenizer);
  const dataset = await loadDataset(finetune.dataset_path, {
    tokenizer,
    config: { eos_token_id: [...config.eosTokenIds] },
    maxSeqLength: finetune.max_seq_length,
    skipOverlength: finetune.skip_overlength,
  });
  planTraining(dataset.features.length, training);
  checkVocabulary(dataset, {
    path: finetune.model_path,
    size: config.vocabSize,
  });
  return { adapter, tokenizer, dataset };
}

function checkPadding(tokenizer: AutoTokenizer): void {
  dataCollator([{ input_ids: [0], labels: [0] }], tokenizer);
}

function checkVocabulary(
  dataset: Dataset,
  model: { path: string; size: number },
): void {
  let highest = 0;
  for (const { input_ids } of dataset.features) {
    for (const id of input_ids) if (id > highest) highest = id;
  }
  if (highest >= model.size) {
    throw new InputError(
      `Cannot train "${model.path}": its tokenizer gives id ${highest}, but vocab_size in config.json is ${model.size}`,
    );
  }
}
