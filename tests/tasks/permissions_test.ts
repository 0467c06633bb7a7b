/**
 * What each task may do: its own set in `deno.json`, nothing in it that it can do
 * without, and given back what is of no use once libtorch is open.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { libraries } from "../../ffi/mod.ts";
import { inFolder } from "../training/tiny_run.ts";

interface Config {
  readonly tasks: Record<string, { readonly command?: string }>;
  readonly permissions: Record<string, Record<string, unknown>>;
}

const CONFIG = JSON.parse(Deno.readTextFileSync("deno.json")) as Config;
const RUNS = Object.entries(CONFIG.tasks).flatMap(([task, { command = "" }]) =>
  /\bdeno (run|test) /.test(command) ? [{ task, command }] : []
);

/** Runs `args` with this libtorch, and without the permissions of the tests. */
function deno(
  args: readonly string[],
): { readonly code: number; readonly out: string; readonly err: string } {
  const { code, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: [...args],
    env: { LIBTORCH: libraries().folder, NO_COLOR: "1" },
  }).outputSync();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

Deno.test("every task asks for its own set of permissions and never for a prompt", () => {
  assert.ok(RUNS.length >= 7);
  for (const { task, command } of RUNS) {
    assert.match(command, /^DENO_NO_UPDATE_CHECK=1 deno /, task);
    assert.match(command, / --no-prompt /, task);
    if (task === "test") continue;
    assert.ok(command.includes(` -P=${task} `), task);
    assert.ok(task in CONFIG.permissions, task);
  }
});

Deno.test("no task may use the network, ask for more of the system than its free memory, or run just any program", () => {
  for (const [name, set] of Object.entries(CONFIG.permissions)) {
    for (const never of ["all", "net", "import"]) {
      assert.ok(!(never in set), `${name} has ${never}`);
    }
    const asks = name === "train" || name === "inspect";
    assert.deepEqual(set.sys, asks ? ["systemMemoryInfo"] : undefined, name);
    assert.equal(set.run === true, name === "offline", name);
    const needsLibtorch = name !== "offline" && name !== "convert";
    assert.equal("ffi" in set, needsLibtorch, name);
  }
});

const ASK = "--prompt hi --max_new_tokens 1".split(" ");

/** The flags that grant the set of `task` but `without`. */
function granted(task: string, without: string): string[] {
  return Object.entries(CONFIG.permissions[task]!)
    .filter(([name]) => name !== without)
    .map(([name, value]) =>
      `--allow-${name}${Array.isArray(value) ? `=${value.join()}` : ""}`
    );
}

for (const without of ["read", "write", "env", "ffi"]) {
  Deno.test(`train cannot do without the permission ${without}`, async () => {
    await inFolder((folder) => {
      const flags = `train.jsonc --max_steps 1 --output_dir ${folder}/out`;
      const { code, err } = deno([
        ...["run", "-q", "--no-prompt", ...granted("train", without)],
        ...["tasks/train.ts", ...flags.split(" ")],
      ]);
      assert.notEqual(code, 0);
      // without ffi the tokenizer's own loader fails first
      assert.match(err, /Requires \w+ access|native binding/);
      return Promise.resolve();
    });
  });
}

Deno.test("chat needs neither write nor run where libtorch is found", () => {
  const read = "--allow-read --allow-env --allow-ffi".split(" ");
  const args = ["run", "-q", "--no-prompt", ...read, "tasks/chat.ts", ...ASK];
  assert.equal(deno(args).code, 0);
});

/** What is left after a command has opened libtorch as `spare` says. */
function statesAfter(set: string, spare: readonly string[]): string {
  const root = new URL("../../", import.meta.url).href;
  const script = Deno.makeTempFileSync({ suffix: ".ts" });
  Deno.writeTextFileSync(
    script,
    `import { openLibtorch } from "${root}tasks/open_libtorch.ts";
     import { aten, tensor } from "${root}lib/tensor/mod.ts";
     await openLibtorch(${JSON.stringify(spare)});
     const states = ["read", "write", "env", "ffi", "run", "sys", "net"]
       .filter((name) => Deno.permissions.querySync({ name }).state === "granted");
     const programs = Deno.permissions.querySync({ name: "run", command: "python3" });
     using x = tensor([2, 3]);
     using y = aten.mul(x, x);
     let ran = "no program runs";
     try {
       new Deno.Command("python3", { args: ["--version"] }).outputSync();
       ran = "a program runs";
     } catch (error) {
       if (!(error instanceof Deno.errors.NotCapable)) throw error;
     }
     console.log([...states, programs.state, ran, y.toArray().join()].join(" "));`,
  );
  try {
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const flags = ["-q", "--no-check", `-P=${set}`, "--no-prompt"];
    const { out, err } = deno(["run", "--config", config, ...flags, script]);
    assert.equal(err, "");
    return out.trim();
  } finally {
    Deno.removeSync(script);
  }
}

Deno.test("openLibtorch() gives permissions back for good, and tensors compute on", () => {
  assert.equal(
    statesAfter("train", []),
    "read write env ffi granted a program runs 4,9",
  );
  assert.equal(
    statesAfter("train", ["run", "sys"]),
    "read write env ffi prompt no program runs 4,9",
  );
  assert.equal(
    statesAfter("chat", ["run", "sys", "write"]),
    "read env ffi prompt no program runs 4,9",
  );
});

const SPARE = {
  "tasks/train.ts": 'openLibtorch(["run", "sys"])',
  "tasks/pretrain.ts": 'openLibtorch(["run", "sys"])',
  "tasks/merge.ts": 'openLibtorch(["run", "sys"])',
  "tasks/export.ts": 'openLibtorch(["run", "sys"])',
  "tasks/chat.ts": 'openLibtorch(["run", "sys", "write"])',
  "tasks/inspect_time.ts": 'openLibtorch(["run"])',
};

Deno.test("train, pretrain, merge, export, chat and inspect give back what they need no more", () => {
  for (const [path, call] of Object.entries(SPARE)) {
    assert.ok(Deno.readTextFileSync(path).includes(call), path);
  }
});

Deno.test("train.sh asks for no newer Deno either", () => {
  assert.match(
    Deno.readTextFileSync("train.sh"),
    /^export DENO_NO_UPDATE_CHECK=1$/m,
  );
});
