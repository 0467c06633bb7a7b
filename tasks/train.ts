/**
 * `deno task train`: parses, checks everything, loads, trains, saves, and shows the
 * model's answer before and after. Without flags it trains the shipped example.
 *
 * @module
 */

import {
  AutoModelForCausalLM,
  type CausalLm,
  chatPrompt,
  describePreflight,
  type Device,
  deviceName,
  deviceNamed,
  getPeftModel,
  ModifiedTrainer,
  parseTrainArguments,
  PeftModel,
  type TrainArguments,
  type TrainingArguments,
  type TrainOutput,
} from "../mod.ts";
import {
  type FinetuneArguments,
  type HelpRequest,
  loraFields,
  trainingArgsJson,
} from "../lib/arguments/mod.ts";
import { familyNames } from "../lib/architectures/mod.ts";
import { promptFormatNames } from "../lib/data/mod.ts";
import { CHAT_TEMPLATE_FILE } from "../lib/generation/mod.ts";
import { describeTargets } from "../lib/peft/mod.ts";
import {
  type ActivationPlan,
  earlyStopping,
  freeMemory,
  type LoraPlus,
  lossWatchdog,
  optimizerNames,
  OutputLock,
  scheduleNames,
  type TrainerCallback,
} from "../lib/training/mod.ts";
import { printable } from "../lib/input_error.ts";
import { type CheckedAdapter, overriddenFlags } from "./adapter_checks.ts";
import { suitedTo } from "./device_settings.ts";
import { beginLoadingLibtorch, openLibtorch } from "./open_libtorch.ts";
import { progressCallback, restoreTerminal } from "./progress_bar.ts";
import { runCommand, warn } from "./report_error.ts";
import { answer } from "./sample.ts";
import { userFolder } from "./user_folder.ts";
import { type CheckedRun, checkRun } from "./train_checks.ts";

/** The settings of `deno task train` when neither a model nor rows are named. */
const EXAMPLE = "train.jsonc";

async function main(args: readonly string[]): Promise<void> {
  const parsed = readArguments(args);
  if ("help" in parsed) return console.log(parsed.help);
  beginLoadingLibtorch();
  const checked = await checkRun(parsed);
  tellWhatIsTrained(parsed, checked);
  const { tree, adapter, tokenizer, dataset, rows } = checked;
  const free = freeMemory();
  await openLibtorch(["run", "sys"]);
  const { finetune } = parsed;
  const device = deviceNamed(parsed.training.use_cpu ? "cpu" : finetune.device);
  const training = suitedTo(device, parsed);
  using base = loadBase(tree, device, finetune);
  const { chatTemplate } = dataset.promptFormat;
  const question = finetune.sample_question === "auto"
    ? dataset.question
    : finetune.sample_question;
  const prompt = await chatPrompt(tokenizer, { template: chatTemplate });
  const ask = { prompt, tokenizer };
  const before = question && await answer(base, { ...ask, question });
  using model = adapterFor(base, { parsed, adapter });
  showAdapter(model);
  using trainer: ModifiedTrainer = new ModifiedTrainer({
    model,
    tokenizer,
    args: training,
    trainDataset: rows.train,
    ...rows.evaluation && { evalDataset: rows.evaluation },
    loss: finetune.loss,
    sharedPrefix: finetune.shared_prefix,
    freeMemory: free,
    ...loraPlusOf(finetune),
    callbacks: [
      progressCallback({ bar: showsBar(training) }),
      activationCallback(() => trainer.activationPlan),
      ...stoppingCallbacks(finetune),
    ],
    argsJson: trainingArgsJson({
      training: parsed.training,
      finetune: { ...finetune, prompt_format: dataset.promptFormat.name },
    }),
    files: { [CHAT_TEMPLATE_FILE]: chatTemplate },
  });
  using lock = new OutputLock(training.output_dir);
  const output = await interruptible((signal) =>
    trainer.train({ signal, lock })
  );
  if (output.interruptedAt !== null) return printResumeCommand(output, args);
  const isLeft = rows.evaluation !== null && training.eval_strategy === "no";
  if (isLeft) await trainer.evaluate();
  trainer.saveModel();
  trainer.saveState();
  if (question !== null) {
    const after = await answer(base, { ...ask, question });
    printAnswers({ question, before, after });
  }
  printTrained(output, training.output_dir);
}

function stoppingCallbacks(finetune: FinetuneArguments): TrainerCallback[] {
  const {
    early_stopping_patience,
    early_stopping_threshold,
    loss_watchdog_threshold,
    loss_watchdog_patience,
  } = finetune;
  const early = early_stopping_patience === null ? [] : [
    earlyStopping({
      patience: early_stopping_patience,
      threshold: early_stopping_threshold,
    }),
  ];
  const watchdog = loss_watchdog_threshold === null ? [] : [
    lossWatchdog({
      threshold: loss_watchdog_threshold,
      patience: loss_watchdog_patience,
    }),
  ];
  return [...early, ...watchdog];
}

function loraPlusOf(
  { loraplus_lr_ratio, loraplus_lr_embedding }: FinetuneArguments,
): { loraPlus?: LoraPlus } {
  if (loraplus_lr_ratio === null) return {};
  return {
    loraPlus: {
      lrRatio: loraplus_lr_ratio,
      lrEmbedding: loraplus_lr_embedding,
    },
  };
}

function loadBase(
  tree: CausalLm,
  device: Device,
  { torch_dtype }: FinetuneArguments,
): CausalLm {
  const base = AutoModelForCausalLM.fromPretrained(tree, {
    device,
    torchDtype: torch_dtype,
  });
  const types = new Set(
    Array.from(base.namedParameters(), ({ tensor }) => tensor.dtype),
  );
  console.log(printable(
    `Loaded ${base.config.path} on ${deviceName(base.device)}, weights in ` +
      [...types].join(" and "),
  ));
  return base;
}

/** Says at the start how many layers are recomputed, where that was left open. */
function activationCallback(
  planOf: () => ActivationPlan | null,
): TrainerCallback {
  return {
    onTrainBegin: () => {
      const plan = planOf();
      if (plan !== null) console.log(describeActivations(plan));
    },
  };
}

function describeActivations(
  { bytes, layers, recomputed }: ActivationPlan,
): string {
  if (bytes === null) {
    return `The free memory is unknown here: activations of all ${layers} layers are recomputed`;
  }
  const start = `A step may take ${(bytes / 1e9).toFixed(2)} GB: `;
  return recomputed === 0
    ? `${start}all activations are kept`
    : `${start}activations of at most ${recomputed} of ${layers} layers are recomputed`;
}

function printAnswers(
  { question, before, after }: {
    readonly question: string;
    readonly before: string | null;
    readonly after: string;
  },
): void {
  const answers = [`  before: ${before}`, `  after:  ${after}`];
  for (const line of [`Question: ${question}`, ...answers]) {
    console.log(printable(line));
  }
}

function tellWhatIsTrained(
  parsed: TrainArguments,
  { dataset, rows, adapter }: CheckedRun,
): void {
  const lines = [
    ...parsed.notes,
    dataset.description,
    ...describePreflight(dataset.preflight),
    ...rows.lines,
  ];
  for (const line of lines) console.log(printable(line));
  overriddenFlags(parsed, adapter).forEach(warn);
}

function printTrained(output: TrainOutput, folder: string): void {
  const steps = output.globalStep === 1 ? "step" : "steps";
  const loss = output.trainingLoss.toFixed(4);
  console.log(printable(
    `Trained ${output.globalStep} ${steps}, mean loss ${loss}; the adapter ` +
      `is in ${folder}`,
  ));
}

function showAdapter(model: PeftModel): void {
  for (const line of describeTargets(model.report)) {
    if (line.startsWith("Warning")) console.error(printable(line));
    else console.log(printable(line));
  }
  console.log(model.trainableParametersLine());
}

function readArguments(args: readonly string[]): TrainArguments | HelpRequest {
  const folder = userFolder();
  return parseTrainArguments(args, {
    optimizers: optimizerNames(),
    schedules: scheduleNames(),
    families: familyNames(),
    promptFormats: promptFormatNames(),
    example: EXAMPLE,
    ...(folder && { folder }),
  });
}

/** A new adapter, or the one in `--checkpoint`. */
function adapterFor(
  base: CausalLm,
  run: { parsed: TrainArguments; adapter: CheckedAdapter },
): PeftModel {
  const { finetune, training } = run.parsed;
  const { report } = run.adapter;
  if (finetune.checkpoint !== null) {
    const model = PeftModel.fromPretrained(base, finetune.checkpoint, {
      report,
    });
    console.log(printable(`Loaded adapter ${finetune.checkpoint}`));
    return model;
  }
  return getPeftModel(base, loraFields(finetune), {
    seed: training.seed,
    report,
  });
}

function showsBar(training: TrainingArguments): boolean {
  return training.disable_tqdm === null
    ? Deno.stderr.isTerminal()
    : !training.disable_tqdm;
}

/** Runs with a signal that Ctrl-C aborts; a second Ctrl-C ends the program at once. */
async function interruptible(
  run: (signal: AbortSignal) => Promise<TrainOutput>,
): Promise<TrainOutput> {
  const controller = new AbortController();
  const onSignal = (): void => {
    if (controller.signal.aborted) {
      restoreTerminal();
      Deno.exit(130);
    }
    controller.abort();
    console.error("\nStopping after this step; Ctrl-C again stops at once");
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const name of signals) Deno.addSignalListener(name, onSignal);
  try {
    return await run(controller.signal);
  } finally {
    for (const name of signals) Deno.removeSignalListener(name, onSignal);
  }
}

function printResumeCommand(
  output: TrainOutput,
  args: readonly string[],
): void {
  const flags = [
    ...withoutResume(args),
    "--resume_from_checkpoint",
    asTyped(output.interruptedAt ?? "true"),
  ];
  console.log(
    `Stopped after step ${output.globalStep}. To resume: deno task train ${
      flags.map(quoted).join(" ")
    }`,
  );
  Deno.exitCode = 130;
}

/** A path that is also valid in the user's folder. */
function asTyped(path: string): string {
  return userFolder() === undefined ? path : Deno.realPathSync(path);
}

/** The flags as typed, without an earlier resume. */
function withoutResume(args: readonly string[]): string[] {
  return args.filter((each, index) =>
    !/^--resume[_-]from/.test(each) &&
    !/^--resume[_-]from[\w-]*$/.test(args[index - 1] ?? "")
  );
}

/** A word as a shell needs it. */
function quoted(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

if (import.meta.main) {
  runCommand(() => main(Deno.args), {
    usage: "deno task train [settings.json|.jsonc|.yaml] [--flag value ...]",
  });
}
