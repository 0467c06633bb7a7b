/**
 * The time of an epoch, from three timed steps of the real model on the first
 * batches of the run. Nothing is saved.
 *
 * @module
 */

import { StepEngine } from "../lib/training/step_engine.ts";
import { TrainingBatches } from "../lib/training/batches.ts";
import { planTraining } from "../lib/training/mod.ts";
import { trainableModel } from "../lib/training/trainable_model.ts";
import { loraFields } from "../lib/arguments/mod.ts";
import {
  AutoModelForCausalLM,
  type CausalLm,
  deviceName,
  deviceNamed,
  getPeftModel,
  InputError,
  PeftModel,
  type TrainArguments,
} from "../mod.ts";
import { suitedTo } from "./device_settings.ts";
import { counted } from "./inspect_rows.ts";
import { openLibtorch } from "./open_libtorch.ts";
import type { CheckedRun } from "./train_checks.ts";

/** Steps that are timed, after one that is not. */
const TIMED = 3;

/** Loads the weights, takes four steps and says how long the last three took. */
export async function timeSteps(
  checked: CheckedRun,
  run: TrainArguments,
): Promise<string[]> {
  await findLibtorch();
  const { finetune } = run;
  const device = deviceNamed(run.training.use_cpu ? "cpu" : finetune.device);
  const args = suitedTo(device, run);
  using base = AutoModelForCausalLM.fromPretrained(checked.tree, {
    device,
    torchDtype: finetune.torch_dtype,
  });
  using model = adapterOf(base, { checked, run });
  base.train();
  const { features, preflight } = checked.dataset;
  const plan = planTraining(features.length, args);
  const batches = new TrainingBatches(
    {
      model,
      args,
      trainDataset: features,
      tokenizer: checked.tokenizer,
      sharedPrefix: finetune.shared_prefix,
    },
    { plan, model: base },
  );
  using engine = new StepEngine(trainableModel(model), args);
  let seconds = 0;
  let tokens = 0;
  for (let step = 0; step <= TIMED; step++) {
    const window = batches.window(step);
    const started = performance.now();
    engine.step(window.batches, {
      learningRate: args.learning_rate,
      seed: [args.seed, step],
      loss: finetune.loss,
    });
    // the first step also reads the weights from disk
    if (step === 0) continue;
    seconds += (performance.now() - started) / 1000;
    tokens += window.tokens;
  }
  const speed = tokens / seconds;
  return [
    `${TIMED} steps on ${deviceName(device)} took ${seconds.toFixed(1)} s, ${
      counted(Math.round(speed))
    } tokens/s`,
    `an epoch takes about ${lasting(preflight.tokens / speed)}`,
  ];
}

/** Opens libtorch where it is; this command may not write, so it cannot fetch it. */
async function findLibtorch(): Promise<void> {
  try {
    await openLibtorch(["run"]);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    throw new InputError(
      "Cannot time steps: libtorch is not on this machine yet, " +
        "deno task setup fetches it",
    );
  }
}

function adapterOf(
  base: CausalLm,
  { checked, run }: { checked: CheckedRun; run: TrainArguments },
): PeftModel {
  const { finetune, training } = run;
  const { report } = checked.adapter;
  return finetune.checkpoint === null
    ? getPeftModel(base, loraFields(finetune), { seed: training.seed, report })
    : PeftModel.fromPretrained(base, finetune.checkpoint, { report });
}

/** Seconds as hours and minutes, minutes and seconds, or seconds. */
function lasting(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60
    ? `${minutes} min ${whole % 60} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
