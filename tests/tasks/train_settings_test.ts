/**
 * Settings that `deno task train` has to hand on: each makes another run.
 *
 * @module
 */

import { strict as assert } from "node:assert";

/** What a run says, and the hash of its adapter's file. */
interface RunResult {
  readonly out: string;
  readonly file: string;
}

/** A run of two steps, whose folder is removed after `use`. */
async function run(
  flags: readonly string[] = [],
  use: (folder: string) => Promise<void> = () => Promise.resolve(),
): Promise<RunResult> {
  const folder = Deno.makeTempDirSync();
  try {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-q", "-P=train", "--no-prompt", "tasks/train.ts"],
        ...["train.jsonc", "--max_steps", "2", "--warmup_steps", "0"],
        ...["--per_device_train_batch_size", "2", "--lora_dropout", "0"],
        ...["--gradient_accumulation_steps", "2", "--data_seed", "1"],
        ...["--sample_question", "none", "--output_dir", folder, ...flags],
      ],
      env: { NO_COLOR: "1", OMP_NUM_THREADS: "1" },
    }).output();
    const decoder = new TextDecoder();
    assert.equal(code, 0, decoder.decode(stderr));
    const bytes = Deno.readFileSync(`${folder}/adapter_model.safetensors`);
    await use(folder);
    const hash = await crypto.subtle.digest("SHA-256", bytes);
    return {
      out: decoder.decode(stdout),
      file: new Uint8Array(hash).join(),
    };
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("train hands on --seed, --loss and --torch_dtype", async () => {
  const usual = await run();
  assert.equal((await run()).file, usual.file);
  assert.notEqual((await run(["--seed", "7"])).file, usual.file);
  assert.notEqual((await run(["--loss", "reference"])).file, usual.file);
  const { out } = await run(["--torch_dtype", "bfloat16"]);
  assert.match(out, /, weights in bfloat16\n/);
});

Deno.test("train --continue_training trains the adapter of --checkpoint, not a new one", async () => {
  let still: RunResult | undefined;
  let further: RunResult | undefined;
  const first = await run([], async (checkpoint) => {
    const from = ["--continue_training", "--checkpoint", checkpoint];
    // A rate of 0 leaves the adapter as it was read.
    still = await run([...from, "--learning_rate", "0"]);
    further = await run(from);
    assert(still.out.includes(`Loaded adapter ${checkpoint}\n`));
  });
  assert.equal(still!.file, first.file);
  assert.notEqual(further!.file, first.file);
});
