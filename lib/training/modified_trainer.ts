/**
 * The recipe's trainer: it writes the adapter as `adapter_model.bin` too.
 *
 * @module
 */

import { type PeftModel, writeAdapterArchive } from "../peft/mod.ts";
import { Trainer } from "./trainer.ts";
import type { TrainerOptions } from "./trainer_options.ts";

/** Options of {@linkcode ModifiedTrainer}: the model has an adapter. */
export interface ModifiedTrainerOptions extends TrainerOptions {
  /** The adapter to train, on its base model. */
  readonly model: PeftModel;
}

/**
 * The recipe's `ModifiedTrainer`: a {@linkcode Trainer} of adapters that writes them
 * as `adapter_model.bin` too, which `torch.load(weights_only=True)` opens.
 */
export class ModifiedTrainer extends Trainer {
  readonly #model: PeftModel;

  /** Makes a trainer of `options.model`'s adapter. */
  constructor(options: ModifiedTrainerOptions) {
    super(options);
    this.#model = options.model;
  }

  /** Writes the adapter as peft does and as `adapter_model.bin`, and gives the folder. */
  override saveModel(folder?: string): string {
    const path = super.saveModel(folder);
    writeAdapterArchive(path, this.#model.stateDict());
    return path;
  }
}
