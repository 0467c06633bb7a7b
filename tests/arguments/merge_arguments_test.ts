/**
 * The flags of `deno task merge`: sizes as transformers reads them, all problems at
 * once, and the names of other tools.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { parseMergeArguments } from "../../lib/arguments/mod.ts";
import { errorOf } from "../formats/temporary.ts";

const PATHS = ["--adapter", "a", "--output_dir", "b"];

function bytesOf(size: string): number {
  const parsed = parseMergeArguments([...PATHS, "--max_shard_size", size]);
  assert(!("help" in parsed));
  return parsed.maxShardBytes;
}

Deno.test("parseMergeArguments() reads sizes in decimal and binary units, and in bytes", () => {
  assert.equal(bytesOf("5GB"), 5e9);
  assert.equal(bytesOf("500 mb"), 5e8);
  assert.equal(bytesOf("1.5GB"), 1.5e9);
  assert.equal(bytesOf("2GiB"), 2 ** 31);
  assert.equal(bytesOf("1000"), 1000);
  for (const wrong of ["", "GB", "-1GB", "5XB", "0", "1e3", "5GBs"]) {
    assert.match(
      errorOf(() => bytesOf(wrong)),
      /^Cannot use --max_shard_size ".*": expected a size such as/,
      wrong,
    );
  }
});

Deno.test("parseMergeArguments() names what is missing, and answers names of other tools", () => {
  assert.match(
    errorOf(() => parseMergeArguments([])),
    /--adapter is missing[^]*--output_dir is missing/,
  );
  for (
    const [name, here] of [
      ["adapter_name_or_path", "adapter"],
      ["export_dir", "output_dir"],
      ["model_name_or_path", "model_path"],
    ]
  ) {
    assert.match(
      errorOf(() => parseMergeArguments([...PATHS, `--${name}`, "x"])),
      new RegExp(`Cannot use --${name}.*did you mean --${here}\\?`),
    );
  }
});

Deno.test("parseMergeArguments() lists every setting in its help", () => {
  const parsed = parseMergeArguments(["--help"]);
  assert("help" in parsed);
  for (const name of "adapter model_path output_dir torch_dtype".split(" ")) {
    assert.ok(parsed.help.includes(`--${name}`), name);
  }
});
