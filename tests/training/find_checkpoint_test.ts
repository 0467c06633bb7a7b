/**
 * Which checkpoint a run goes on from, and what is said of damaged ones.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";
import { resolveCheckpoint } from "../../lib/training/mod.ts";
import {
  checkpointsByAge,
  rotateCheckpoints,
} from "../../lib/training/output_folder.ts";
import { errorOf } from "../formats/temporary.ts";
import { inFolder, namesIn, refusal, train } from "./tiny_run.ts";

Deno.test("resolveCheckpoint() takes the checkpoint that was written last, not an earlier run's higher step, also in a copy", async () => {
  await inFolder(async (folder) => {
    const saved = { save_strategy: "steps", save_steps: 1 } as const;
    await train({ folder, args: { ...saved, max_steps: 3 } });
    await train({ folder, args: { ...saved, max_steps: 1 } });
    const order = [2, 3, 1].map((step) => `${folder}/checkpoint-${step}`);
    // a copy has times of its own
    for (const [index, path] of order.entries()) {
      const time = 1000 - index;
      Deno.utimeSync(`${path}/trainer_state.json`, time, time);
    }
    assert.deepEqual(checkpointsByAge(folder), order);
    assert.equal(resolveCheckpoint(folder, true), `${folder}/checkpoint-1`);
    rotateCheckpoints(folder, 2);
    assert.deepEqual(checkpointsByAge(folder), order.slice(1));
  });
});

for (
  const [file, damage, problem] of [
    ["adapter_model.safetensors", "cut", /adapter_model\.safetensors"/],
    ["optimizer.pt", "cut", /optimizer\.pt": .*cut off/],
    [
      "adapter_model.safetensors",
      "a byte",
      /tensors": its bytes are not those/,
    ],
    ["optimizer.pt", "a byte", /optimizer\.pt": its bytes are not those/],
    ["adapter_model.safetensors", "gone", /it has no \.safetensors file/],
    ["optimizer.pt", "gone", /it has no optimizer\.pt/],
    ["trainer_state.json", "gone", /it has no trainer_state\.json/],
    ["resume_state.json", "gone", /it has no resume_state\.json/],
    ["trainer_state.json", '{"global_step": 2', /trainer_state\.json"/],
    ["resume_state.json", "{}", /resume_state\.json": "lossSum" is missing/],
    [
      "trainer_state.json",
      '{"global_step": -1}',
      /"global_step" is -1, expected a whole number/,
    ],
    ["trainer_state.json", '{"global_step": NaN}', /"global_step" is /],
    ["trainer_state.json", '{"global_step": 1.5}', /"global_step" is 1.5, /],
    [
      "trainer_state.json",
      '{"global_step": 1e300}',
      /"global_step" is 1e\+300, /,
    ],
    ["trainer_state.json", '{"global_step": "2"}', /"global_step" is "2", /],
    [
      "trainer_state.json",
      '{"global_step": 2, "epoch": -1}',
      /"epoch" is -1, /,
    ],
    [
      "trainer_state.json",
      '{"global_step": 2, "epoch": 1, "total_flos": null}',
      /"total_flos" is null, /,
    ],
    [
      "trainer_state.json",
      '{"global_step": 2, "epoch": 1, "total_flos": 0, "log_history": [7]}',
      /"log_history" is \[7\], expected a list of rows/,
    ],
    [
      "trainer_state.json",
      '{"global_step": 0, "epoch": 0, "total_flos": 0, "log_history": []}',
      /"step" is 2, expected a whole number from 0 to the global_step 0/,
    ],
  ] as const
) {
  Deno.test(`resolveCheckpoint() says that the newest checkpoint's ${file} is damaged (${damage}) and names the one before`, async () => {
    await inFolder(async (folder) => {
      const args = {
        max_steps: 2,
        save_strategy: "steps",
        save_steps: 1,
      } as const;
      await train({ folder, args });
      const path = `${folder}/checkpoint-2/${file}`;
      if (damage === "cut") {
        const bytes = Deno.readFileSync(path);
        Deno.writeFileSync(path, bytes.subarray(0, bytes.length - 40));
      } else if (damage === "a byte") {
        const bytes = Deno.readFileSync(path);
        bytes[Math.floor(bytes.length * 0.6)]! ^= 0x10;
        Deno.writeFileSync(path, bytes);
      } else if (damage === "gone") Deno.removeSync(path);
      else Deno.writeTextFileSync(path, damage);
      const told = errorOf(() => resolveCheckpoint(folder, "true"));
      assert.match(told, problem);
      assert(
        told.endsWith(
          `; an earlier one is complete, use --resume_from_checkpoint ${folder}/checkpoint-1`,
        ),
        told,
      );
      // asked for by name it is refused as well, and what was offered goes on
      assert.throws(
        () => resolveCheckpoint(folder, `${folder}/checkpoint-2`),
        InputError,
      );
      const resumed = await train({
        folder,
        args,
        train: { resumeFromCheckpoint: `${folder}/checkpoint-1` },
      });
      assert.equal(resumed.output.globalStep, 2);
    });
  });
}

Deno.test("Trainer refuses a checkpoint after more steps than the run has, and says when nothing is left to do", async () => {
  await inFolder(async (folder) => {
    const args = { max_steps: 3, save_strategy: "steps" } as const;
    await train({ folder, args });
    const before = namesIn(folder);
    assert.equal(
      await refusal({
        folder,
        args: { ...args, max_steps: 2 },
        train: { resumeFromCheckpoint: true },
      }),
      'Cannot resume from "F/checkpoint-3": its global_step is 3, but this run has 2 steps; ' +
        "a larger --max_steps or --num_train_epochs, or an earlier checkpoint, is needed",
    );
    assert.deepEqual(namesIn(folder), before);
    const bytes = Deno.readFileSync(`${folder}/adapter_model.safetensors`);
    Deno.removeSync(`${folder}/adapter_model.safetensors`);
    const { output, warnings } = await train({
      folder,
      args,
      train: { resumeFromCheckpoint: true },
    });
    assert.equal(output.globalStep, 3);
    assert.deepEqual(warnings, [
      `Nothing is left to do: "${folder}/checkpoint-3" is after the last of 3 steps`,
    ]);
    assert.deepEqual(
      Deno.readFileSync(`${folder}/adapter_model.safetensors`),
      bytes,
    );
  });
});

Deno.test("Trainer that cannot resume leaves no output folder behind", async () => {
  await inFolder(async (folder) => {
    const told = await refusal({
      folder: `${folder}/new`,
      args: { max_steps: 2, resume_from_checkpoint: `${folder}/none` },
    });
    assert.match(told, /it does not exist/);
    assert.deepEqual(namesIn(folder), []);
  });
});
