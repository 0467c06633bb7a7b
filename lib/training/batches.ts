/**
 * The batches of each optimizer step: the rows of its micro-batches in the order
 * of the epoch, collated, with counts of tokens and floating point operations.
 *
 * @module
 */

import type { CausalLm } from "../architectures/mod.ts";
import type { Batch, Feature } from "../data/batch.ts";
import { dataCollator } from "../data/collator.ts";
import { sharedRows } from "../data/shared_rows.ts";
import type { Tensor } from "../tensor/mod.ts";
import { type TrainingPlan, windowAt } from "./plan.ts";
import { epochBatches } from "./sampler.ts";
import type { TrainerOptions } from "./trainer_options.ts";

/** The micro-batches of one optimizer step. */
export interface Window {
  readonly batches: readonly Batch[];
  /** Number of epochs after this step, with fraction. */
  readonly epoch: number;
  /** Number of tokens, without padding. */
  readonly tokens: number;
  /** Number of tokens whose prediction is trained. */
  readonly trainedTokens: number;
  /** Floating point operations, as transformers' Trainer estimates them. */
  readonly flos: number;
}

/** Makes the window of any step; the order of an epoch is computed once. */
export class TrainingBatches {
  readonly #options: TrainerOptions;
  readonly #plan: TrainingPlan;
  readonly #flosPerToken: number;
  readonly #collate: NonNullable<TrainerOptions["dataCollator"]>;
  #lengths: readonly number[] | null = null;
  #order: { epoch: number; batches: number[][] } | null = null;

  /** Makes batches of the rows in `options`, for training `model` by `plan`. */
  constructor(
    options: TrainerOptions,
    run: { readonly plan: TrainingPlan; readonly model: CausalLm },
  ) {
    this.#options = options;
    this.#plan = run.plan;
    this.#flosPerToken = flosPerToken(run.model);
    const { sharedPrefix = true } = options;
    this.#collate = options.dataCollator ??
      (sharedPrefix && run.model.paddingReason === null
        ? sharedRows
        : dataCollator);
  }

  /** A batch of `rows`, made as those of a step. */
  collate(rows: readonly Feature[]): Batch {
    return this.#collate(rows, this.#options.tokenizer);
  }

  /** The window of optimizer step `step`, the first being 0. */
  window(step: number): Window {
    const { args, trainDataset } = this.#options;
    const { stepsPerEpoch, batchesPerEpoch } = this.#plan;
    const epoch = Math.floor(step / stepsPerEpoch);
    const { start, end } = windowAt(this.#plan, {
      step: step % stepsPerEpoch,
      accumulation: args.gradient_accumulation_steps,
    });
    const micro = this.#orderOf(epoch).slice(start, end).map((rows) =>
      rows.map((row) => trainDataset[row]!)
    );
    const batches = micro.map((rows) => this.collate(rows));
    return {
      batches,
      epoch: epoch + end / batchesPerEpoch,
      tokens: sumOf(batches, (each) => each.tokens),
      trainedTokens: sumOf(batches, (each) => each.targets.labels.length),
      flos: this.#flosPerToken * sumOf(micro, paddedTokens),
    };
  }

  /** A micro-batch of the longest rows: no other has more tokens, unless they share more. */
  longest(): Batch {
    const { args, trainDataset, tokenizer } = this.#options;
    const rows = trainDataset.toSorted((a, b) =>
      b.input_ids.length - a.input_ids.length
    );
    return this.#collate(
      rows.slice(0, args.per_device_train_batch_size),
      tokenizer,
    );
  }

  #orderOf(epoch: number): readonly number[][] {
    if (this.#order?.epoch !== epoch) {
      const { args, trainDataset } = this.#options;
      const batches = epochBatches(trainDataset.length, {
        epoch,
        seed: args.data_seed ?? args.seed,
        batchSize: args.per_device_train_batch_size,
        dropLast: args.dataloader_drop_last,
        strategy: args.train_sampling_strategy,
        grouping: {
          lengths: this.#lengths ??= trainDataset.map((row) =>
            row.input_ids.length
          ),
          accumulation: args.gradient_accumulation_steps,
          seed: args.seed,
        },
      });
      this.#order = { epoch, batches };
    }
    return this.#order.batches;
  }
}

/** Number of tokens of `rows` padded to one length, which transformers counts. */
function paddedTokens(rows: readonly Feature[]): number {
  return rows.length *
    rows.reduce((most, row) => Math.max(most, row.input_ids.length), 0);
}

/** `6 ·` the number of parameters without the embedding; a shared tensor counts once. */
function flosPerToken(model: CausalLm): number {
  const tensors = new Set<Tensor>();
  for (const { tensor } of model.namedParameters()) tensors.add(tensor);
  const { hiddenSize, vocabSize } = model.config;
  return 6 *
    (sumOf([...tensors], (each) => each.size) - hiddenSize * vocabSize);
}

function sumOf<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}
