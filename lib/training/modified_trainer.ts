/**
 * The recipe's trainer, which also writes the adapter as `adapter_model.bin`.
 *
 * @module
 */

import { type PeftModel, writeAdapterArchive } from "../peft/mod.ts";
import { Trainer } from "./trainer.ts";
import type { TrainerOptions } from "./trainer_options.ts";

/** Options of {@linkcode ModifiedTrainer}: the model must have an adapter. */
export interface ModifiedTrainerOptions extends TrainerOptions {
  /** The adapter to train, with its base model. */
  readonly model: PeftModel;
}

/**
 * The recipe's `ModifiedTrainer`: a {@linkcode Trainer} for adapters that also
 * writes them as `adapter_model.bin`, which `torch.load(weights_only=True)`
 * opens.
 */
export class ModifiedTrainer extends Trainer {
  readonly #model: PeftModel;

  /** Makes a trainer for the adapter of `options.model`. */
  constructor(options: ModifiedTrainerOptions) {
    super(options);
    this.#model = options.model;
  }

  /**
   * Writes the adapter in peft's format and as `adapter_model.bin`, and returns
   * the folder.
   */
  override saveModel(folder?: string): string {
    const path = super.saveModel(folder);
    writeAdapterArchive(path, this.#model.stateDict());
    return path;
  }
}
