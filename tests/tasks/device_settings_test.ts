/**
 * Settings that a CPU and a CUDA device follow differently.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  saveModel,
} from "../../lib/architectures/mod.ts";
import { parseTrainArguments } from "../../lib/arguments/train_arguments.ts";
import { allowTf32, tf32IsAllowed } from "../../lib/tensor/mod.ts";
import { suitedTo } from "../../tasks/device_settings.ts";
import { errorOf } from "../formats/temporary.ts";

const CPU = { type: "cpu", index: 0 } as const;
const CUDA = { type: "cuda", index: 1 } as const;

Deno.test("suitedTo() lets a CUDA device use TF32 where --tf32 asks for it, and only then", () => {
  for (const [asked, allowed] of [["true", true], ["false", false]] as const) {
    const parsed = parseTrainArguments(["--tf32", asked]);
    assert(!("help" in parsed));
    allowTf32(!allowed);
    suitedTo(CPU, parsed);
    assert.equal(tf32IsAllowed(), !allowed);
    suitedTo(CUDA, parsed);
    assert.equal(tf32IsAllowed(), allowed);
  }
});

Deno.test("suitedTo() takes tf32 and full_determinism on a CPU and refuses the latter on a CUDA device", () => {
  const parsed = parseTrainArguments(["--tf32", "true", "--full_determinism"]);
  assert(!("help" in parsed));
  assert.equal(suitedTo(CPU, parsed), parsed.training);
  assert.equal(
    errorOf(() => suitedTo(CUDA, parsed)),
    "Cannot use --full_determinism on cuda:1: not supported yet, some of the device's sums have no fixed order",
  );
});

Deno.test("suitedTo() leaves fp16 to a CUDA device", () => {
  const parsed = parseTrainArguments(["--fp16"]);
  assert(!("help" in parsed));
  assert.equal(suitedTo(CUDA, parsed).fp16, true);
  assert.equal(suitedTo(CPU, parsed).fp16, false);
});

Deno.test("train --bf16 computes in bfloat16 and leaves the base as its checkpoint stores it", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    using base = AutoModelForCausalLM.fromPretrained("models/tiny-atom", {
      torchDtype: "float32",
    });
    saveModel(base, folder);
    for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
      Deno.copyFileSync(`models/tiny-atom/${name}`, `${folder}/${name}`);
    }
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-q", "-P", "--no-prompt", "tasks/train.ts"],
        ...["--model_path", folder, "--bf16", "--max_steps", "1"],
        ...["--per_device_train_batch_size", "1", "--target_modules", "q_proj"],
        ...["--sample_question", "none", "--output_dir", `${folder}/output`],
      ],
      env: { NO_COLOR: "1" },
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    assert.match(
      new TextDecoder().decode(stdout),
      /\nLoaded .* on cpu, weights in float32\n/,
    );
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
