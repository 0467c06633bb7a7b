/**
 * What the adapter of a run and the one in a checkpoint have to do with each other:
 * resuming needs the same one, continuing takes the checkpoint's.
 *
 * @module
 */

import {
  AutoModelForCausalLM,
  InputError,
  type LoraConfig,
  loraConfig,
  matchTargets,
  PeftModel,
  targetTree,
  type TrainArguments,
} from "../mod.ts";
import { loraFields } from "./lora_fields.ts";

/** Fields that make an adapter's shape and strength, and their flags. */
const FLAGS = {
  r: "lora_rank",
  lora_alpha: "lora_alpha",
  use_rslora: "use_rslora",
  rank_pattern: "rank_pattern",
  alpha_pattern: "alpha_pattern",
} as const;

/**
 * Checks that the checkpoint in `folder` has the adapter that the run trains.
 *
 * @throws {InputError} naming what is different, or when the model does not load.
 */
export function checkSameAdapter(folder: string, run: TrainArguments): void {
  const { checkpoint, model_path } = run.finetune;
  const own = checkpoint === null
    ? loraConfig(loraFields(run.finetune))
    : PeftModel.readConfig(checkpoint);
  const stored = PeftModel.readConfig(folder);
  const found = differences(stored, own)
    .map(({ flag, one, other }) => `${flag} ${one}, this run has ${other}`);
  const tree = targetTree(AutoModelForCausalLM.fromConfig(model_path));
  const [theirs, ours] = [stored, own].map((each) => matchTargets(tree, each));
  if (theirs?.targeted.join() !== ours?.targeted.join()) {
    found.push(
      `target_modules ${theirs?.trainedNames.join(" ")} in ` +
        `${theirs?.targeted.length} places, this run has ` +
        `${ours?.trainedNames.join(" ")} in ${ours?.targeted.length}`,
    );
  }
  if (found.length === 0) return;
  throw new InputError(
    `Cannot resume from "${folder}": its adapter has ${found.join("; ")}`,
  );
}

/** Sentences about flags of a new adapter that the one in `--checkpoint` overrules. */
export function overruledFlags({ finetune, given }: TrainArguments): string[] {
  const { checkpoint } = finetune;
  if (checkpoint === null) return [];
  const asked = loraConfig(loraFields(finetune));
  return differences(asked, PeftModel.readConfig(checkpoint))
    .filter(({ flag }) => given.has(flag))
    .map(({ flag, one, other }) =>
      `--${flag} ${one} has no effect: the adapter in "${checkpoint}" has ${other}`
    );
}

function differences(
  one: LoraConfig,
  other: LoraConfig,
): { flag: string; one: string; other: string }[] {
  const fields = Object.keys(FLAGS) as (keyof typeof FLAGS)[];
  return fields
    .map((field) => ({
      flag: FLAGS[field],
      one: JSON.stringify(one[field]),
      other: JSON.stringify(other[field]),
    }))
    .filter((each) => each.one !== each.other);
}
