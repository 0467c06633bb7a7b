/**
 * Runs the pip of the Python on PATH and reports its progress. Knows nothing of
 * what is installed.
 *
 * @module
 */

import { InputError } from "../lib/input_error.ts";
import { ISOLATED } from "./search.ts";

/** Where pip works, and who is told of its progress. */
export interface Pip {
  /** The folder to install into, an absolute path. */
  readonly site: string;
  /** The folder for downloads, on the same disk; an absolute path. */
  readonly tmp: string;
  /** Called with a line of text at every sign of progress. */
  readonly onProgress: (line: string) => void;
}

const COMMANDS: readonly (readonly [string, ...string[]])[] = [
  ["python3", ISOLATED, "-m", "pip"],
  ["python", ISOLATED, "-m", "pip"],
  ["pip3"],
  ["pip"],
];
// Wheels carry the same libraries for every Python version; this version has had
// wheels for years.
const ANY_PYTHON = ["--python-version", "3.12", "--only-binary=:all:"];
const LAST_LINES = 8;
const POLL_MS = 1000;

/**
 * Installs `requirements` into `pip.site`.
 *
 * @throws {Error} when there is no pip, or when pip fails, with the end of its
 *   output.
 */
export async function runPip(
  pip: Pip,
  requirements: readonly string[],
): Promise<void> {
  const command = await findPip(pip);
  let failed = await attempt(pip, [
    ...command,
    ...installArguments(pip),
    ...requirements,
  ]);
  if (failed !== null && isForOtherPythons(failed)) {
    const all = [...command, ...installArguments(pip), ...ANY_PYTHON];
    failed = await attempt(pip, [...all, ...requirements]);
  }
  if (failed === null) return;
  const lastLines = failed.trim().split("\n").slice(-LAST_LINES);
  throw new InputError(
    [
      `Cannot fetch ${requirements.at(-1)} with "${command.join(" ")}": pip ` +
      "failed, check the network and pip's settings, or set LIBTORCH to a " +
      "libtorch or the torch folder of a Python",
      ...lastLines.map((line) => `  ${line}`),
    ].join("\n"),
  );
}

async function findPip(pip: Pip): Promise<readonly [string, ...string[]]> {
  for (const command of COMMANDS) {
    const [program, ...args] = command;
    try {
      const { success } = await new Deno.Command(program, {
        args: [...args, "--version"],
        cwd: pip.tmp,
        stdout: "null",
        stderr: "null",
      }).output();
      if (success) return command;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  throw new InputError(
    `Cannot fetch libtorch: none of ${
      COMMANDS.map((command) => `"${command.join(" ")}"`).join(", ")
    } runs, install Python with pip or set LIBTORCH to a libtorch`,
  );
}

function installArguments(pip: Pip): string[] {
  return [
    "install",
    "--target",
    pip.site,
    "--progress-bar=off",
    "--no-cache-dir",
    "--no-compile",
    "--no-input",
    "--disable-pip-version-check",
  ];
}

/** Whether the index has this release, but not for the Python version that asked. */
function isForOtherPythons(output: string): boolean {
  return /No matching distribution/.test(output) &&
    !/Retrying \(|No such option/.test(output);
}

/** Returns pip's output when it failed, `null` when it succeeded. */
async function attempt(
  pip: Pip,
  command: readonly string[],
): Promise<string | null> {
  const [program = "", ...args] = command;
  const child = new Deno.Command(program, {
    args,
    // pip and the programs it starts read settings and modules from their working
    // folder
    cwd: pip.tmp,
    env: { TMPDIR: pip.tmp, PIP_USER: "0", PIP_REQUIRE_VIRTUALENV: "0" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const progress = new Progress(pip);
  const timer = setInterval(() => progress.tell(), POLL_MS);
  try {
    const [out, err, { success }] = await Promise.all([
      collect(child.stdout, (text) => progress.read(text)),
      collect(child.stderr, () => {}),
      child.status,
    ]);
    return success ? null : out + err;
  } finally {
    clearInterval(timer);
  }
}

async function collect(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onText: (all: string) => void,
): Promise<string> {
  let all = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    all += text;
    onText(all);
  }
  return all;
}

/** Turns pip's output and the size of its downloads into progress lines. */
class Progress {
  readonly #pip: Pip;
  #output = "";
  #last = "";

  constructor(pip: Pip) {
    this.#pip = pip;
  }

  read(output: string): void {
    this.#output = output;
  }

  tell(): void {
    const line = this.#line();
    if (line === this.#last) return;
    this.#last = line;
    this.#pip.onProgress(line);
  }

  #line(): string {
    const [name = "packages", version = ""] =
      /Collecting ([\w-]+)(?:==([\w.]+))?/.exec(this.#output)?.slice(
        1,
      ) ?? [];
    const what = `${name} ${version}`.trim();
    if (/^Installing collected/m.test(this.#output)) return `Unpacking ${what}`;
    const total = [
      ...this.#output.matchAll(/Downloading [^\n]*\(([\d.]+) (kB|MB|GB)\)/g),
    ].map(([, size, unit]) =>
      Number(size) * MEGABYTES[unit as keyof typeof MEGABYTES]
    )
      .reduce((a, b) => a + b, 0);
    const done = Math.min(sizeBelow(this.#pip.tmp) / 1e6, total || Infinity);
    const amount = total > 0
      ? `: ${done.toFixed(0)} of ${total.toFixed(0)} MB`
      : "";
    return `Fetching ${what} with pip${amount}`;
  }
}

const MEGABYTES = { kB: 1e-3, MB: 1, GB: 1e3 };

function sizeBelow(folder: string): number {
  let bytes = 0;
  try {
    for (const { name, isDirectory } of Deno.readDirSync(folder)) {
      const path = `${folder}/${name}`;
      bytes += isDirectory ? sizeBelow(path) : Deno.statSync(path).size;
    }
  } catch (error) {
    // pip may remove its files while they are being counted.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return bytes;
}
