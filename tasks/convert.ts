/**
 * `deno task convert`: an adapter of peft, mlx-lm or torchtune, written for another of
 * them. Needs no libtorch.
 *
 * @module
 */

import { parseConvertArguments } from "../lib/arguments/mod.ts";
import { printable } from "../lib/input_error.ts";
import { convertAdapter } from "../lib/peft/mod.ts";
import { runCommand } from "./report_error.ts";
import { checkFree, StagedFolder } from "./staged_folder.ts";
import { userFolder } from "./user_folder.ts";

function main(args: readonly string[]): Promise<void> {
  const folder = userFolder();
  const parsed = parseConvertArguments(args, folder ? { folder } : {});
  if ("help" in parsed) {
    console.log(parsed.help);
    return Promise.resolve();
  }
  const { adapter, output_dir, to, model_path: modelPath } = parsed;
  checkFree(output_dir);
  using staged = new StagedFolder(output_dir);
  const { from, modules } = convertAdapter({
    adapter,
    output: staged.path,
    to,
    modelPath,
  });
  staged.commit();
  console.log(printable(
    `Converted ${adapter} from ${from} to ${to}: ${modules} modules, in ${output_dir}`,
  ));
  return Promise.resolve();
}

if (import.meta.main) {
  runCommand(async () => await main(Deno.args), {
    usage:
      "deno task convert --adapter output --output_dir mlx --to mlx [--flag value ...]",
  });
}
