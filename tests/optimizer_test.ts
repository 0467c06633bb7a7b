/**
 * What a script does that needs another optimizer and another schedule: it
 * registers both, in one file, and a run trains, saves and resumes with them.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../lib/architectures/mod.ts";
import { parseTrainArguments } from "../lib/arguments/train_arguments.ts";
import { InputError } from "../lib/input_error.ts";
import { getPeftModel } from "../lib/peft/mod.ts";
import { aten, type Tensor, tensor, tensorScope } from "../lib/tensor/mod.ts";
import {
  type FlatEntry,
  type FlatParameters,
  type Optimizer,
  optimizerNames,
  registerOptimizer,
  registerSchedule,
  scheduleNames,
  Trainer,
  viewOf,
} from "../lib/training/mod.ts";
import { errorOf } from "./formats/temporary.ts";
import {
  inFolder,
  MODELS,
  PAD,
  tinyArguments,
  tinyRows,
  train,
} from "./training/tiny_run.ts";

const MOMENTUM = 0.9;

/** SGD with momentum: `b ← μb + g`, `p ← p − ηb`. */
class Sgd implements Optimizer {
  readonly scalars = { step: 0 };
  readonly settings = { momentum: MOMENTUM, nesterov: false };
  readonly weightDecay = 0;
  readonly #parameters: FlatParameters;
  readonly #buffer: Tensor;

  constructor(parameters: FlatParameters) {
    this.#parameters = parameters;
    this.#buffer = aten.clone(parameters.gradients);
    this.#buffer.fill(0);
  }

  stateOf(parameter: FlatEntry): Readonly<Record<string, Tensor>> {
    return { momentum_buffer: viewOf(this.#buffer, parameter) };
  }

  step(learningRate: number): void {
    using _scope = tensorScope();
    const { values, gradients } = this.#parameters;
    this.scalars.step++;
    aten.mul_(this.#buffer, tensor(MOMENTUM));
    aten.copy_(this.#buffer, this.#buffer.add(gradients));
    aten.copy_(values, values.add(this.#buffer, -learningRate));
  }

  [Symbol.dispose](): void {
    this.#buffer[Symbol.dispose]();
  }
}

function register(): void {
  registerOptimizer({
    names: ["sgd_momentum"],
    create: (parameters) => new Sgd(parameters),
  });
  registerSchedule("sawtooth", (step) => 1 - (step % 3) / 3);
}

Deno.test("registerOptimizer() and registerSchedule() give a run that resumes to the same bytes", async () => {
  register();
  await inFolder(async (folder) => {
    const args = {
      optim: "sgd_momentum",
      lr_scheduler_type: "sawtooth",
      learning_rate: 0.1,
      max_steps: 5,
      save_strategy: "steps",
      save_steps: 1,
    } as const;
    const whole = await train({ folder: `${folder}/whole`, args });
    assert.deepEqual(
      whole.history.filter((row) => "loss" in row)
        .map((row) => row.learning_rate!.toFixed(4)),
      ["0.1000", "0.0667", "0.0333", "0.1000", "0.0667"],
    );
    const bytes = (name: string): Uint8Array =>
      Deno.readFileSync(`${folder}/${name}/adapter_model.safetensors`);
    for (const step of [1, 2, 3, 4]) {
      const resumed = await train({
        folder: `${folder}/resumed`,
        args,
        train: { resumeFromCheckpoint: `${folder}/whole/checkpoint-${step}` },
      });
      assert.deepEqual(resumed.warnings, []);
      assert.deepEqual(bytes("resumed"), bytes("whole"), `from step ${step}`);
    }
    // with momentum the buffer matters, and AdamW would have gone elsewhere
    const adamw = { ...args, optim: "adamw_torch" };
    await train({ folder: `${folder}/adamw`, args: adamw });
    assert.notDeepEqual(bytes("adamw"), bytes("whole"));
  });
});

Deno.test("an optimizer or schedule that is not there is answered with those that are, by flags and by Trainer", () => {
  register();
  const names = {
    optimizers: optimizerNames(),
    schedules: scheduleNames(),
  };
  const parsed = parseTrainArguments(["--optim", "sgd_momentum"], names);
  assert.ok(!("help" in parsed));
  assert.equal(parsed.training.optim, "sgd_momentum");
  const expected = [
    /^Cannot use --optim "sophia": .*expected one of .*"adamw_torch".*"sgd_momentum"/m,
    /^Cannot use --lr_scheduler_type "sine": .*expected one of "linear".*"sawtooth"/m,
  ];
  const flags = ["--optim", "sophia", "--lr_scheduler_type", "sine"];
  const told = errorOf(() => parseTrainArguments(flags, names));
  for (const each of expected) assert.match(told, each);
  using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using model = getPeftModel(base, {}, { seed: 1 });
  for (
    const [index, values] of [
      { optim: "sophia" },
      { lr_scheduler_type: "sine" },
    ].entries()
  ) {
    const args = tinyArguments(values);
    const options = { model, tokenizer: PAD, args, trainDataset: tinyRows(2) };
    assert.throws(() => new Trainer(options), (error: unknown) => {
      assert(error instanceof InputError && error.exitCode === 2);
      assert.match(error.message, expected[index]!);
      return true;
    });
  }
});
