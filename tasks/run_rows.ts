/**
 * The rows of a run: those it trains on, and those it evaluates, which have files of
 * their own or are a part of the others.
 *
 * @module
 */

import {
  type AutoTokenizer,
  type CausalLm,
  type Dataset,
  type Feature,
  InputError,
  loadDataset,
  type TrainArguments,
} from "../mod.ts";
import { cacheFolder } from "../ffi/mod.ts";
import type { FinetuneArguments } from "../lib/arguments/mod.ts";
import {
  modelFilesKey,
  type RowCache,
  splitRows,
  type StoredFormat,
} from "../lib/data/mod.ts";
import type { EvaluationRows } from "../lib/training/mod.ts";
import { quoted } from "../lib/input_error.ts";
import { checkRowsPath } from "./base_model.ts";
import { warn } from "./report_error.ts";

/** The rows of a run, as `tokenizer` and the settings make them. */
export function loadRows(
  finetune: FinetuneArguments,
  { tokenizer, model, storedFormat, seed }: {
    readonly tokenizer: AutoTokenizer;
    readonly model: CausalLm;
    readonly storedFormat: StoredFormat | null;
    readonly seed: number;
  },
): Promise<Dataset> {
  return loadDataset(finetune.dataset_path, {
    tokenizer,
    config: { eos_token_id: [...model.config.eosTokenIds] },
    maxSeqLength: finetune.max_seq_length,
    skipOverlength: finetune.skip_overlength,
    shape: finetune.dataset_shape,
    promptFormat: finetune.prompt_format,
    storedFormat,
    weights: finetune.dataset_weights,
    cache: rowCache(finetune),
    seed,
    trainOn: finetune.train_on,
  });
}

/** Tokenised rows are kept in `rows` of the user's cache folder. */
function rowCache(finetune: FinetuneArguments): RowCache | null {
  const folder = cacheFolder();
  if (folder === null || !finetune.dataset_cache) return null;
  return {
    folder: `${folder}/rows`,
    tokenizerKey: modelFilesKey(finetune.model_path),
    overwrite: finetune.overwrite_cache,
  };
}

/** The rows of a run, divided. */
export interface DividedRows {
  readonly train: readonly Feature[];
  /** The rows to evaluate, or several sets of them by name; `null` for none. */
  readonly evaluation: EvaluationRows | null;
  /** Says what is evaluated, one line a set. */
  readonly lines: readonly string[];
}

/** Divides the rows of `dataset` as the settings say, and reads files of rows to evaluate. */
export async function dividedRows(
  { finetune, training }: TrainArguments,
  { dataset, tokenizer, model }: {
    readonly dataset: Dataset;
    readonly tokenizer: AutoTokenizer;
    readonly model: CausalLm;
  },
): Promise<DividedRows> {
  const { eval_split, eval_dataset_path, dataset_path } = finetune;
  const { seed } = training;
  let train = dataset.features;
  const evaluation: Record<string, readonly Feature[]> = {};
  const lines: string[] = [];
  if (eval_split !== null) {
    const parts = splitRows(train, { share: eval_split, seed });
    train = parts.train;
    evaluation[eval_dataset_path === null ? "" : "split"] = parts.evaluation;
    lines.push(
      `${parts.evaluation.length} of ${dataset.features.length} rows are evaluated and not trained`,
    );
  }
  const paths = eval_dataset_path === null ? [] : [eval_dataset_path].flat();
  const names = setNames(paths, eval_split !== null);
  const trained = [dataset_path].flat().map(realPath);
  for (const [at, path] of paths.entries()) {
    checkRowsPath(path);
    if (trained.includes(realPath(path))) {
      warn(
        `${
          quoted(path)
        } is trained and evaluated: its loss says nothing of other rows`,
      );
    }
    const own = await loadRows({
      ...finetune,
      dataset_path: path,
      dataset_weights: null,
      prompt_format: dataset.promptFormat.name,
    }, { tokenizer, model, storedFormat: null, seed });
    evaluation[names[at]!] = own.features;
    lines.push(`Evaluated: ${own.description}`);
  }
  const { "": only, ...named } = evaluation;
  const sets = only ?? (Object.keys(named).length > 0 ? named : null);
  return { train, evaluation: sets, lines };
}

/** Names of sets after their files; one file alone has none. */
function setNames(paths: readonly string[], hasOther: boolean): string[] {
  if (paths.length === 1 && !hasOther) return [""];
  const names = paths.map((path) =>
    path.split("/").at(-1)!.replace(/\.gz$/, "").replace(/\.\w+$/, "")
  );
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice === undefined) return names;
  throw new InputError(
    `Cannot use two files of --eval_dataset_path called ${
      quoted(twice)
    }: their metrics would have one name`,
  );
}

function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return path;
  }
}
