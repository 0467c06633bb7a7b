/**
 * `deno task offline`: packs Deno and every package into one folder, for a server
 * that has PyTorch but no network. Copy the folder along with the project and run
 * `bash offline/run.sh train …` there.
 *
 * @module
 */

import { HfArgumentParser } from "../mod.ts";
import type { SettingsTable } from "../lib/arguments/mod.ts";
import { runCommand } from "./report_error.ts";

const SETTINGS = {
  output_dir: {
    kind: "str",
    default: "offline",
    help: "Folder to pack into; it must be inside the project",
  },
} as const satisfies SettingsTable;

const RUN = `#!/usr/bin/env bash
# Runs a task of lorikeet without a network: bash offline/run.sh train --help
# PyTorch is found as usual: through LIBTORCH, or in the Python on PATH.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
if [ ! -x "$here/deno" ]; then
  gunzip -c "$here/deno.gz" > "$here/deno.partial"
  chmod +x "$here/deno.partial"
  mv "$here/deno.partial" "$here/deno"
fi
export DENO_DIR="$here/deno_dir" DENO_NO_UPDATE_CHECK=1
cd "$here/.."
exec "$here/deno" task "$@"
`;

async function main(): Promise<void> {
  const parser = new HfArgumentParser(
    [{ title: "offline arguments", table: SETTINGS }],
    { prog: "deno task offline" },
  );
  const parsed = parser.parseArgsIntoDataclasses(Deno.args);
  if ("help" in parsed) return console.log(parsed.help);
  const [{ output_dir }] = parsed;
  Deno.mkdirSync(output_dir, { recursive: true });
  const folder = Deno.realPathSync(output_dir);
  await cachePackages(`${folder}/deno_dir`);
  removeOtherPlatforms(`${folder}/deno_dir`);
  await compressFile(Deno.execPath(), `${folder}/deno.gz`);
  Deno.writeTextFileSync(`${folder}/run.sh`, RUN, { mode: 0o755 });
  const megabytes = Math.round(sizeOf(folder) / 2 ** 20);
  console.log(
    `Packed ${megabytes} MB into ${output_dir}; on the other machine: bash ${output_dir}/run.sh train`,
  );
}

/** Fills a separate package cache with what the tasks, tests and benchmarks import. */
async function cachePackages(cache: string): Promise<void> {
  const files = ["tasks", "tests", "bench"].flatMap((folder) =>
    scriptsIn(folder)
  );
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: ["cache", "-q", ...files],
    env: { DENO_DIR: cache },
  }).output();
  if (!success) throw new Error("deno cache failed");
  // the rest is what Deno makes of our own files, and makes again
  for (const { name } of Deno.readDirSync(cache)) {
    if (name === "npm" || name === "remote") continue;
    await Deno.remove(`${cache}/${name}`, { recursive: true });
  }
}

function scriptsIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) return scriptsIn(path);
    return path.endsWith(".ts") ? [path] : [];
  });
}

/** The tokenizers package has binaries for 13 platforms; only one is needed. */
function removeOtherPlatforms(folder: string): void {
  const arch = Deno.build.arch === "x86_64" ? "x64" : "arm64";
  const own = Deno.build.os === "darwin"
    ? `tokenizers.darwin-${arch}.node`
    : `tokenizers.linux-${arch}-gnu.node`;
  for (const entry of Deno.readDirSync(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) removeOtherPlatforms(path);
    const isBinary = /^tokenizers\..*\.node$/.test(entry.name);
    if (isBinary && entry.name !== own) Deno.removeSync(path);
  }
}

async function compressFile(source: string, target: string): Promise<void> {
  using input = await Deno.open(source);
  using output = await Deno.open(target, {
    write: true,
    create: true,
    truncate: true,
  });
  const packed = input.readable.pipeThrough(new CompressionStream("gzip"));
  for await (const chunk of packed) {
    for (let offset = 0; offset < chunk.length;) {
      offset += await output.write(chunk.subarray(offset));
    }
  }
}

function sizeOf(path: string): number {
  const entry = Deno.lstatSync(path);
  if (!entry.isDirectory) return entry.size;
  return [...Deno.readDirSync(path)].reduce(
    (sum, each) => sum + sizeOf(`${path}/${each.name}`),
    0,
  );
}

if (import.meta.main) runCommand(main);
