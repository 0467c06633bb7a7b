/**
 * The folder of a run: held by one run at a time, swept at the start, whole after
 * every kill; its checkpoints listed and rotated.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";
import {
  checkOutputFolder,
  listCheckpoints,
  OutputLock,
  resolveCheckpoint,
} from "../../lib/training/mod.ts";
import { rotateCheckpoints } from "../../lib/training/output_folder.ts";
import { errorOf } from "../formats/temporary.ts";
import { inFolder, namesIn, refusal, train } from "./tiny_run.ts";

Deno.test("listCheckpoints() passes half-written folders over and sorts by step", async () => {
  await inFolder((folder) => {
    for (const name of ["checkpoint-10", "checkpoint-9", "checkpoint-x"]) {
      Deno.mkdirSync(`${folder}/${name}`);
      Deno.writeTextFileSync(`${folder}/${name}/trainer_state.json`, "{}");
      Deno.utimeSync(`${folder}/${name}/trainer_state.json`, 1, 1);
    }
    Deno.mkdirSync(`${folder}/checkpoint-11`);
    Deno.mkdirSync(`${folder}/tmp-checkpoint-12`);
    Deno.writeTextFileSync(
      `${folder}/tmp-checkpoint-12/trainer_state.json`,
      "",
    );
    assert.deepEqual(listCheckpoints(folder), [
      `${folder}/checkpoint-9`,
      `${folder}/checkpoint-10`,
    ]);
    assert.deepEqual(listCheckpoints(`${folder}/none`), []);
    rotateCheckpoints(folder, null);
    rotateCheckpoints(folder, 0);
    assert.equal(listCheckpoints(folder).length, 2);
    rotateCheckpoints(folder, 1);
    assert.deepEqual(listCheckpoints(folder), [`${folder}/checkpoint-10`]);
    return Promise.resolve();
  });
});

Deno.test("rotateCheckpoints() keeps what was written last, not an earlier run's higher step", async () => {
  await inFolder((folder) => {
    for (const [step, time] of [[300, 10], [200, 5], [50, 20]] as const) {
      const state = `${folder}/checkpoint-${step}/trainer_state.json`;
      Deno.mkdirSync(`${folder}/checkpoint-${step}`);
      Deno.writeTextFileSync(state, "{}");
      Deno.utimeSync(state, time, time);
    }
    rotateCheckpoints(folder, 2);
    assert.deepEqual(listCheckpoints(folder), [
      `${folder}/checkpoint-50`,
      `${folder}/checkpoint-300`,
    ]);
    rotateCheckpoints(folder, 1);
    assert.deepEqual(listCheckpoints(folder), [`${folder}/checkpoint-50`]);
    return Promise.resolve();
  });
});

Deno.test("rotateCheckpoints() keeps what was just written, also where the clock has been put back since an earlier run", async () => {
  await inFolder((folder) => {
    for (const [step, time] of [[300, 2e9], [200, 3e9], [50, 20]] as const) {
      const state = `${folder}/checkpoint-${step}/trainer_state.json`;
      Deno.mkdirSync(`${folder}/checkpoint-${step}`);
      Deno.writeTextFileSync(state, "{}");
      Deno.utimeSync(state, time, time);
    }
    rotateCheckpoints(folder, 2, [`${folder}/checkpoint-50`]);
    assert.deepEqual(listCheckpoints(folder), [
      `${folder}/checkpoint-50`,
      `${folder}/checkpoint-200`,
    ]);
    rotateCheckpoints(folder, 1, [`${folder}/checkpoint-50`]);
    assert.deepEqual(listCheckpoints(folder), [`${folder}/checkpoint-50`]);
    return Promise.resolve();
  });
});

Deno.test("OutputLock makes the folder, and removes it where nothing has been written", async () => {
  await inFolder((folder) => {
    const output = `${folder}/a/b`;
    {
      using _lock = new OutputLock(output);
      assert.deepEqual(namesIn(output), [".lorikeet.lock"]);
      assert.equal(
        errorOf(() => checkOutputFolder(output)),
        `Cannot write into output_dir "${output}": another run is writing there, wait until it ends or give another --output_dir`,
      );
    }
    assert.deepEqual(namesIn(folder), []);
    Deno.mkdirSync(output, { recursive: true });
    checkOutputFolder(output);
    assert.deepEqual(namesIn(`${folder}/a`), ["b"]);
    {
      using _lock = new OutputLock(`${folder}/c`);
      Deno.writeTextFileSync(`${folder}/c/kept`, "");
    }
    assert.deepEqual(namesIn(`${folder}/c`), ["kept"]);
    return Promise.resolve();
  });
});

Deno.test("OutputLock tells a folder that cannot be made or written, and leaves nothing", async () => {
  await inFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/file`, "");
    assert.match(
      errorOf(() => checkOutputFolder(`${folder}/file/sub`)),
      /^Cannot write ".*file\/sub": not a directory$/,
    );
    assert.match(
      errorOf(() => checkOutputFolder(`${folder}/file`)),
      /^Cannot write ".*file": /,
    );
    assert.deepEqual(namesIn(folder), ["file"]);
    return Promise.resolve();
  });
});

/** A process that holds `folder` until it is killed, once it does. */
async function holder(folder: string): Promise<Deno.ChildProcess> {
  const module = import.meta.resolve("../../lib/training/output_folder.ts");
  const code = `import { OutputLock } from ${JSON.stringify(module)};
    globalThis.lock = new OutputLock(${JSON.stringify(folder)});
    console.log("held");
    setInterval(() => {}, 1000);`;
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "-A",
      "--no-lock",
      `data:text/javascript,${encodeURIComponent(code)}`,
    ],
    stdout: "piped",
  }).spawn();
  const reader = process.stdout.getReader();
  const { value } = await reader.read();
  assert.match(new TextDecoder().decode(value), /held/);
  await reader.cancel();
  return process;
}

Deno.test("OutputLock is held against another process, and given back by the system when it is killed", async () => {
  await inFolder(async (folder) => {
    const output = `${folder}/output`;
    const process = await holder(output);
    try {
      assert.match(
        await refusal({ folder: output, args: { max_steps: 1 } }),
        /^Cannot write into output_dir "F": another run is writing there/,
      );
      assert.deepEqual(namesIn(output), [".lorikeet.lock"]);
    } finally {
      process.kill("SIGKILL");
      await process.status;
    }
    const { output: { globalStep } } = await train({
      folder: output,
      args: { max_steps: 1 },
    });
    assert.equal(globalStep, 1);
    assert(!namesIn(output).includes(".lorikeet.lock"));
  });
});

Deno.test("OutputLock sweeps what killed runs left and nothing else, and names a checkpoint that only lacked its name", async () => {
  await inFolder(async (folder) => {
    const args = {
      max_steps: 2,
      save_strategy: "steps",
      save_steps: 1,
    } as const;
    await train({ folder, args });
    const whole = namesIn(folder);
    Deno.mkdirSync(`${folder}/tmp-checkpoint-7`);
    Deno.writeTextFileSync(`${folder}/tmp-checkpoint-7/adapter`, "half");
    Deno.mkdirSync(`${folder}/old-checkpoint-5`);
    Deno.writeTextFileSync(
      `${folder}/.trainer_state.json.lorikeet-77.tmp`,
      "half",
    );
    const foreign = [
      "checkpoint-x",
      "notes.tmp",
      ".hidden",
      "tmp-checkpoint-x",
    ];
    for (const name of foreign) {
      Deno.writeTextFileSync(`${folder}/${name}`, "a user's own");
    }
    // killed between setting the old one aside and placing the new one
    Deno.renameSync(`${folder}/checkpoint-2`, `${folder}/tmp-checkpoint-2`);
    Deno.mkdirSync(`${folder}/old-checkpoint-2`);
    checkOutputFolder(folder);
    assert.deepEqual(namesIn(folder), [...whole, ...foreign].sort());
    assert.equal(resolveCheckpoint(folder, true), `${folder}/checkpoint-2`);
  });
});

Deno.test("OutputLock is not fooled by a lock file that the run before removes at its end", async () => {
  await inFolder((folder) => {
    const { prototype } = Deno.FsFile;
    const tryLockSync = prototype.tryLockSync;
    let calls = 0;
    prototype.tryLockSync = function (exclusive?: boolean): boolean {
      if (calls++ === 0) Deno.removeSync(`${folder}/.lorikeet.lock`);
      return tryLockSync.call(this, exclusive);
    };
    try {
      using _lock = new OutputLock(folder);
      assert.equal(calls, 2);
      assert.throws(() => new OutputLock(folder), InputError);
    } finally {
      prototype.tryLockSync = tryLockSync;
    }
    return Promise.resolve();
  });
});

Deno.test("a checkpoint that cannot take its place leaves the one that had it", async () => {
  await inFolder(async (folder) => {
    const args = { max_steps: 1, save_strategy: "steps" } as const;
    await train({ folder, args });
    const path = `${folder}/checkpoint-1/resume_state.json`;
    const before = Deno.readTextFileSync(path);
    const { renameSync } = Deno;
    Deno.renameSync = (from, to): void => {
      if (String(from).endsWith("tmp-checkpoint-1")) {
        throw new Error("No space left on device (os error 28)");
      }
      renameSync(from, to);
    };
    try {
      assert.equal(
        await refusal({ folder, args }),
        'Cannot write "F/checkpoint-1": no space left on device',
      );
    } finally {
      Deno.renameSync = renameSync;
    }
    assert.equal(Deno.readTextFileSync(path), before);
    assert.equal(resolveCheckpoint(folder, true), `${folder}/checkpoint-1`);
  });
});
