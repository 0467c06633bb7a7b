/**
 * Relative paths in flags are relative to the user's folder inside the project.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { parseTrainArguments } from "../../mod.ts";
import { userFolder } from "../../tasks/user_folder.ts";

function withInitCwd<T>(value: string | null, act: () => T): T {
  const before = Deno.env.get("INIT_CWD");
  if (value === null) Deno.env.delete("INIT_CWD");
  else Deno.env.set("INIT_CWD", value);
  try {
    return act();
  } finally {
    if (before === undefined) Deno.env.delete("INIT_CWD");
    else Deno.env.set("INIT_CWD", before);
  }
}

Deno.test("userFolder is a folder inside the project, and no other", () => {
  const root = Deno.cwd();
  const ask = (value: string | null): string | undefined =>
    withInitCwd(value, () => userFolder(root));
  assert.equal(ask(`${root}/dataset`), `${root}/dataset`);
  for (const other of [null, root, "/", `${root}/no-such`, `${root}/..`]) {
    assert.equal(ask(other), undefined, String(other));
  }
  const elsewhere = (): string | undefined => userFolder(`${root}/tests`);
  assert.equal(withInitCwd(`${root}/tests/ffi`, elsewhere), undefined);
});

Deno.test("parseTrainArguments takes relative paths of flags, not of files or switches, from folder", () => {
  const root = Deno.cwd();
  const parsed = parseTrainArguments([
    "../train.jsonc",
    ...["--dataset_path", "rows.jsonl", "--output_dir", "/out/put"],
    ...["--resume_from_checkpoint", "true"],
  ], { folder: `${root}/dataset` });
  assert(!("help" in parsed));
  assert.equal(parsed.finetune.dataset_path, `${root}/dataset/rows.jsonl`);
  assert.equal(parsed.finetune.model_path, "models/tiny-atom");
  assert.equal(parsed.training.output_dir, "/out/put");
  assert.equal(parsed.training.resume_from_checkpoint, "true");
});
