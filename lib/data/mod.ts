/**
 * From a file of rows to batches: examples, messages, prompt formats, ids and
 * labels, counts, padding.
 *
 * @module
 */

export {
  type Batch,
  type Feature,
  type Geometry,
  IGNORED_LABEL,
  paddedBatch,
  type PaddedRows,
  rectangle,
  type Segment,
  type Targets,
  trainedTokens,
} from "./batch.ts";
export { hasRecipeFrame, type StoredFormat } from "./choose_format.ts";
export { dataCollator, type PadTokens } from "./collator.ts";
export { sharedRows } from "./shared_rows.ts";
export {
  type EncodingOptions,
  type EosConfig,
  type TrainOn,
} from "./encoded_files.ts";
export { type RowCache } from "./row_cache.ts";
export { modelFilesKey } from "./row_cache_key.ts";
export {
  type Dataset,
  type DatasetOptions,
  loadDataset,
} from "./load_dataset.ts";
export {
  describePreflight,
  type Preflight,
  type RowLimit,
} from "./preflight.ts";
export {
  type EncodedRow,
  type FormatTokenizer,
  type Message,
  type PromptFormat,
  promptFormat,
  type PromptFormatEntry,
  promptFormatNames,
  type PromptFormatOptions,
  registerPromptFormat,
  type TrainingRow,
} from "./prompt_format.ts";
export {
  type Example,
  readExamples,
  type ReadOptions,
} from "./read_examples.ts";
export { RECIPE_TURNS } from "./recipe_format.ts";
export { type EvaluationSplit, splitRows } from "./row_weights.ts";
export {
  type Piece,
  promptText,
  turnFormat,
  type TurnFormatParts,
  type TurnPlace,
} from "./turn_format.ts";
