/**
 * Resuming from every checkpoint gives what the run without interruption gave, to
 * the byte; checkpoints are written whole, found, rotated and refused by name.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { IGNORED_LABEL } from "../../lib/data/batch.ts";
import { getPeftModel } from "../../lib/peft/mod.ts";
import {
  listCheckpoints,
  type LogRow,
  resolveCheckpoint,
  Trainer,
} from "../../lib/training/mod.ts";
import { errorOf } from "../formats/temporary.ts";
import {
  inFolder,
  MODELS,
  PAD,
  refusal,
  rowOf,
  TINY_LORA,
  tinyArguments,
  tinyRows,
  type TinyRun,
  train,
} from "./tiny_run.ts";

/** 7 rows in batches of 2, two to a step: windows of 2 and 2 batches, the last row alone. */
const NINE_STEPS = {
  max_steps: 9,
  save_strategy: "steps",
  save_steps: 1,
  warmup_steps: 2,
  logging_steps: 2,
} as const;

/** Rows all longer than `rope_dynamic` was made for, so that it remembers the longest. */
const LONG_ROWS = tinyRows(7).map(({ labels }, index) =>
  rowOf(
    Array.from({ length: 9 + index }, (_, at) => 3 + 5 * at + index),
    labels.lastIndexOf(IGNORED_LABEL) + 1,
  )
);

/** Rows of a log without those numbers that a clock gave. */
function lasting(history: readonly LogRow[]): LogRow[] {
  return history.map((row) =>
    Object.fromEntries(
      Object.entries(row).filter(([name]) => !/runtime|per_second/.test(name)),
    )
  );
}

/** Trains in one go and again from each checkpoint, into the same files. */
async function resumesExactly(
  run: Omit<TinyRun, "folder">,
  file: string,
): Promise<void> {
  await inFolder(async (folder) => {
    const args = { ...NINE_STEPS, ...run.args };
    const whole = await train({ ...run, args, folder });
    assert.equal(whole.output.globalStep, 9);
    const checkpoints = listCheckpoints(folder);
    assert.equal(checkpoints.length, 9);
    const expected = Deno.readFileSync(`${folder}/${file}`);
    for (const checkpoint of checkpoints.slice(0, -1)) {
      await inFolder(async (other) => {
        const resumed = await train({
          ...run,
          args: { ...args, save_strategy: "no" },
          folder: other,
          train: { resumeFromCheckpoint: checkpoint },
        });
        assert.deepEqual(resumed.warnings, []);
        assert.deepEqual(lasting(resumed.history), lasting(whole.history));
        assert.equal(resumed.output.trainingLoss, whole.output.trainingLoss);
        const bytes = Deno.readFileSync(`${other}/${file}`);
        assert.deepEqual(bytes, expected, checkpoint);
      });
    }
  });
}

Deno.test("readCheckpoint() goes on to the same bytes and log from every step of an adapter's run with dropout", () =>
  resumesExactly({}, "adapter_model.safetensors"));

Deno.test("readCheckpoint() goes on to the same bytes with a dynamic rope, whose longest length it restores", () =>
  resumesExactly(
    { model: "rope_dynamic", rows: LONG_ROWS },
    "adapter_model.safetensors",
  ));

Deno.test("readCheckpoint() goes on to the same bytes for a whole model with tied embeddings", () =>
  resumesExactly(
    { model: "llama_tied", lora: null, args: { gradient_checkpointing: true } },
    "model.safetensors",
  ));

Deno.test("Trainer.train() saves when it is aborted, and a resumed run ends as if it had not been", async () => {
  await inFolder(async (folder) => {
    const args = { max_steps: 6 };
    const whole = await train({ folder: `${folder}/whole`, args });
    const controller = new AbortController();
    const cut = await train({
      folder: `${folder}/cut`,
      args,
      train: { signal: controller.signal },
      options: {
        callbacks: [{
          onStepEnd: ({ step }) => step === 4 && controller.abort(),
        }],
      },
    });
    assert.deepEqual(cut.output.globalStep, 4);
    assert.equal(cut.output.interruptedAt, `${folder}/cut/checkpoint-4`);
    assert.equal(cut.history.length, 4);
    const resumed = await train({
      folder: `${folder}/cut`,
      args,
      train: { resumeFromCheckpoint: true },
    });
    assert.equal(resumed.output.interruptedAt, null);
    assert.deepEqual(lasting(resumed.history), lasting(whole.history));
    const [one, other] = ["whole", "cut"].map((name) =>
      Deno.readFileSync(`${folder}/${name}/adapter_model.safetensors`)
    );
    assert.deepEqual(one, other);
  });
});

Deno.test("Trainer.train() called again goes on where it was aborted, with the longest length of a dynamic rope", async () => {
  await inFolder(async (folder) => {
    const model = "rope_dynamic";
    const args = { ...NINE_STEPS, save_strategy: "no" } as const;
    const rows = LONG_ROWS;
    const whole = await train({ folder, args, model, rows });
    const expected = Deno.readFileSync(`${folder}/adapter_model.safetensors`);
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/${model}`);
    using adapter = getPeftModel(base, TINY_LORA, { seed: 42 });
    let controller = new AbortController();
    using trainer = new Trainer({
      model: adapter,
      tokenizer: PAD,
      args: tinyArguments({ ...args, output_dir: folder }),
      trainDataset: rows,
      callbacks: [{ onStepEnd: () => controller.abort() }],
    });
    for (let step = 1; step <= 9; step++) {
      const { globalStep } = await trainer.train({ signal: controller.signal });
      assert.equal(globalStep, step);
      controller = new AbortController();
    }
    assert.deepEqual(lasting(trainer.state.logHistory).slice(0, -1), [
      ...lasting(whole.history).slice(0, -1),
    ]);
    trainer.saveModel(folder);
    const bytes = Deno.readFileSync(`${folder}/adapter_model.safetensors`);
    assert.deepEqual(bytes, expected);
    const { globalStep } = await trainer.train();
    assert.equal(globalStep, 9);
  });
});

Deno.test("Trainer.train() warns when what fixes the order of rows has changed since the checkpoint", async () => {
  await inFolder(async (folder) => {
    await train({ folder, args: { max_steps: 1, save_strategy: "steps" } });
    const { warnings } = await train({
      folder,
      args: { max_steps: 2, seed: 43, resume_from_checkpoint: "true" },
      rows: tinyRows(8),
    });
    assert.equal(warnings.length, 1);
    assert.match(
      warnings[0]!,
      /^Resuming from ".*checkpoint-1" gives other results than the interrupted run would have: seed 42 → 43; max_steps 1 → 2; data_seed 42 → 43; rows 7 → 8; hash of the rows \w{16} → \w{16}$/,
    );
  });
});

Deno.test("Trainer.train() warns when a checkpoint's rows shared prefixes and the resumed run pads them", async () => {
  await inFolder(async (folder) => {
    const args = {
      max_steps: 2,
      save_strategy: "steps",
      save_steps: 1,
    } as const;
    await train({ folder, args });
    const { warnings } = await train({
      folder,
      args: { ...args, resume_from_checkpoint: `${folder}/checkpoint-1` },
      options: { sharedPrefix: false },
    });
    assert.match(
      warnings.join("\n"),
      /^Resuming from .* gives other results than the interrupted run would have: shared_prefix true → false$/,
    );
  });
});

Deno.test("resolveCheckpoint() refuses what cannot be resumed from, by name", async () => {
  await inFolder(async (folder) => {
    assert.equal(
      errorOf(() => resolveCheckpoint(`${folder}/none`, "true")),
      `Cannot resume from the newest checkpoint: no valid checkpoint found in output directory "${folder}/none"`,
    );
    await train({
      folder,
      args: { max_steps: 1, save_strategy: "steps", save_only_model: true },
    });
    const saved = [...Deno.readDirSync(`${folder}/checkpoint-1`)];
    assert.deepEqual(saved.map(({ name }) => name).sort(), [
      "adapter_config.json",
      "adapter_model.safetensors",
      "trainer_state.json",
      "training_args.json",
    ]);
    for (const asked of ["true", `${folder}/checkpoint-1/`]) {
      assert.equal(
        errorOf(() => resolveCheckpoint(folder, asked)),
        `Cannot resume from "${folder}/checkpoint-1": it has no resume_state.json, no optimizer.pt, ` +
          "a checkpoint-N folder that lorikeet wrote without --save_only_model is needed",
      );
    }
  });
});

Deno.test("readCheckpoint() refuses a checkpoint of other shapes, naming the tensor", async () => {
  await inFolder(async (folder) => {
    await train({ folder, args: { max_steps: 1, save_strategy: "steps" } });
    const lora = { r: 3, target_modules: ["q_proj", "down_proj"] };
    await assert.rejects(
      train({ folder, lora, train: { resumeFromCheckpoint: true } }),
      /^InputError: Cannot resume from ".*": "model.layers.0.self_attn.q_proj.lora_A.weight" has shape \[2, 32\], this run has \[3, 32\]; .*lora_B/,
    );
    const other = { r: 2, target_modules: ["q_proj", "up_proj"] };
    await assert.rejects(
      train({ folder, lora: other, train: { resumeFromCheckpoint: true } }),
      /"model.layers.0.mlp.up_proj.lora_A.weight" is missing; /,
    );
  });
});

Deno.test("writeCheckpoint() takes the place of what a killed run left half-written", async () => {
  await inFolder(async (folder) => {
    for (const name of ["tmp-checkpoint-1", "checkpoint-1"]) {
      Deno.mkdirSync(`${folder}/${name}`);
      Deno.writeTextFileSync(`${folder}/${name}/rest`, "");
    }
    await train({
      folder,
      args: { max_steps: 3, save_strategy: "steps", save_steps: 1 },
    });
    assert.equal(listCheckpoints(folder).length, 3);
    const names = [...Deno.readDirSync(`${folder}/checkpoint-1`)];
    assert.deepEqual(names.map(({ name }) => name).sort(), [
      "adapter_config.json",
      "adapter_model.safetensors",
      "optimizer.pt",
      "resume_state.json",
      "rng_state.pth",
      "scheduler.pt",
      "trainer_state.json",
      "training_args.json",
    ]);
    assert.throws(() => Deno.statSync(`${folder}/tmp-checkpoint-1`));
  });
});

const TWO_STEPS = {
  max_steps: 2,
  save_strategy: "steps",
  save_steps: 1,
} as const;

Deno.test("Trainer refuses to resume with fewer targets, and from files without their fields", async () => {
  await inFolder(async (folder) => {
    await train({ folder, args: TWO_STEPS });
    const resume = {
      folder,
      args: TWO_STEPS,
      train: { resumeFromCheckpoint: `${folder}/checkpoint-1` },
    };
    assert.match(
      await refusal({
        ...resume,
        lora: { ...TINY_LORA, target_modules: ["q_proj"] },
      }),
      /^Cannot resume from "F\/checkpoint-1": "[\w.]*down_proj[\w.]*" is not trained in this run; /,
    );
    for (
      const [file, problem] of [
        [
          "resume_state.json",
          '"lossSum" is missing, the file is damaged',
        ],
        [
          "trainer_state.json",
          '"global_step" is missing, expected a whole number of steps, 0 or more',
        ],
      ]
    ) {
      Deno.writeTextFileSync(`${folder}/checkpoint-1/${file}`, "{}");
      assert.equal(
        await refusal(resume),
        `Cannot resume from "F/checkpoint-1/${file}": ${problem}`,
      );
    }
  });
});

Deno.test("Trainer leaves no half of a checkpoint that it cannot write", async () => {
  await inFolder(async (folder) => {
    const argsJson = {
      get full(): never {
        throw new Error("No space left on device (os error 28)");
      },
    };
    assert.equal(
      await refusal({ folder, args: TWO_STEPS, options: { argsJson } }),
      'Cannot write "F/checkpoint-1": no space left on device',
    );
    assert.deepEqual([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("Trainer.train() begins no further step after a signal that came during a long one", async () => {
  await inFolder(async (folder) => {
    const controller = new AbortController();
    const longStep = (): void => {
      setTimeout(() => controller.abort());
      const end = performance.now() + 300;
      while (performance.now() < end);
    };
    const { output } = await train({
      folder,
      args: { max_steps: 3 },
      options: { callbacks: [{ onStepEnd: longStep }] },
      train: { signal: controller.signal },
    });
    assert.equal(output.interruptedAt, `${folder}/checkpoint-1`);
  });
});
