/**
 * Compares the adapter of a run with the one in a checkpoint: resuming needs the same
 * one, and `--continue_training` takes the checkpoint's.
 *
 * @module
 */

import { loraFlag } from "../lib/arguments/lora_settings.ts";
import {
  type CausalLm,
  InputError,
  type LoraConfig,
  PeftModel,
  type TrainArguments,
} from "../mod.ts";
import { loraFields } from "../lib/arguments/mod.ts";
import {
  loraConfig,
  matchTargets,
  resolvedConfig,
  type TargetReport,
  targetTree,
} from "../lib/peft/mod.ts";

/** Fields that determine an adapter's shape and scale. */
const COMPARED = [
  "r",
  "lora_alpha",
  "use_rslora",
  "use_dora",
  "modules_to_save",
  "ensure_weight_tying",
  "bias",
  "lora_bias",
  "trainable_token_indices",
  "rank_pattern",
  "alpha_pattern",
] as const;

/** The adapter of a run: its configuration, and the modules it adapts. */
export interface CheckedAdapter {
  /** From the flags, or from the adapter in `--checkpoint`. */
  readonly config: LoraConfig;
  /** What its targets match in the model. */
  readonly report: TargetReport;
}

/**
 * The adapter that a run trains in `model`. Where the run resumes from the checkpoint
 * in `resumed`, checks that this has the same adapter. No weights are read.
 *
 * @throws {InputError} when no module matches, or naming all differences.
 */
export function checkAdapter(
  run: TrainArguments,
  { model, resumed }: { model: CausalLm; resumed: string | null },
): CheckedAdapter {
  const { checkpoint } = run.finetune;
  const tree = targetTree(model);
  const config = resolvedConfig(
    model,
    checkpoint === null
      ? loraConfig(loraFields(run.finetune))
      : PeftModel.readConfig(checkpoint),
  );
  const report = matchTargets(tree, config);
  if (resumed === null) return { config, report };
  const stored = resolvedConfig(model, PeftModel.readConfig(resumed));
  const found = differences(stored, config)
    .map(({ flag, one, other }) => `${flag} ${one}, this run has ${other}`);
  const theirs = matchTargets(tree, stored);
  const places = (
    { targeted, parameters }: TargetReport,
  ): readonly string[] => [
    ...targeted,
    ...parameters,
  ];
  if (places(theirs).join() !== places(report).join()) {
    found.push(
      `target_modules ${theirs.trainedNames.join(" ")} in ` +
        `${places(theirs).length} modules, this run has ` +
        `${report.trainedNames.join(" ")} in ${places(report).length}`,
    );
  }
  if (found.length === 0) return { config, report };
  throw new InputError(
    `Cannot resume from "${resumed}": its adapter has ${found.join("; ")}`,
  );
}

/** Sentences about flags that the adapter in `--checkpoint` overrides. */
export function overriddenFlags(
  { finetune, given }: TrainArguments,
  { config }: CheckedAdapter,
): string[] {
  const { checkpoint } = finetune;
  if (checkpoint === null) return [];
  const asked = loraConfig(loraFields(finetune));
  return differences(asked, config)
    .filter(({ flag }) => given.has(flag))
    .map(({ flag, one, other }) =>
      `--${flag} ${one} has no effect: the adapter in "${checkpoint}" has ${other}`
    );
}

function differences(
  one: LoraConfig,
  other: LoraConfig,
): { flag: string; one: string; other: string }[] {
  return COMPARED
    .map((field) => ({
      flag: loraFlag(field),
      one: JSON.stringify(one[field]),
      other: JSON.stringify(other[field]),
    }))
    .filter((each) => each.one !== each.other);
}
