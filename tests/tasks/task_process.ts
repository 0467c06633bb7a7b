/**
 * A task of `deno.json` as a user runs it: the real command, with its own
 * permissions, in a process of its own.
 *
 * @module
 */

import { libraries } from "../../ffi/mod.ts";

/** How a task ended, and what it wrote. */
export interface Run {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** Variables of all these processes: this process's libtorch, and one thread. */
export const ENVIRONMENT = {
  NO_COLOR: "1",
  OMP_NUM_THREADS: "1",
  LIBTORCH: libraries().folder,
};

/** The file that `deno task NAME` runs. */
function fileOf(name: string): string {
  return name === "bench" ? "bench/bench.ts" : `tasks/${name}.ts`;
}

/** The task `name` with `flags`, and `env` over {@linkcode ENVIRONMENT}. */
export function taskCommand(
  name: string,
  flags: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-q", `-P=${name}`, "--no-prompt", fileOf(name)],
      ...flags,
    ],
    env: { ...ENVIRONMENT, ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

/** The text of `output`. */
export function runOf({ code, stdout, stderr }: Deno.CommandOutput): Run {
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), error: text(stderr) };
}
