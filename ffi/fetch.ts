/**
 * Downloads libtorch where no copy is installed: pip installs PyTorch into the
 * cache folder, and only the libraries are kept. The package index is the one
 * that the user's pip settings name; no address is written here.
 *
 * @module
 */

import { InputError } from "../lib/input_error.ts";
import { fileInfo } from "../lib/formats/file_info.ts";
import {
  cudaIsAvailable,
  libraries,
  LibtorchNotFoundError,
} from "./library.ts";
import {
  cacheFolder,
  fetchedFolder,
  ISOLATED,
  libraryNames,
  TORCH_VERSION,
} from "./search.ts";
import { type Pip, runPip } from "./pip.ts";

/** Options of {@linkcode fetchLibtorch} and {@linkcode ensureLibtorch}. */
export interface FetchOptions {
  /** Called with a line of text at every sign of progress. */
  readonly onProgress?: (line: string) => void;
  /**
   * Called with a sentence when something is not as asked for, such as an
   * unusable `LIBTORCH`.
   */
  readonly onWarning?: (message: string) => void;
  /** Whether to fetch the CUDA libraries too. Default: whether there is an NVIDIA driver. */
  readonly gpu?: boolean;
}

/** A libtorch that opens successfully. */
export interface Libtorch {
  /** The folder of its libraries. */
  readonly folder: string;
  /** Its release, such as `2.13.0`. */
  readonly version: string;
  /** Whether it can compute on a CUDA device of this machine. */
  readonly cuda: boolean;
}

/** Libraries that are never opened on a CPU, and those for Python only. */
const SPARE = /^torch\/.*(cuda|nvshmem|nvrtc|torch_python|libshm)|nvperf/;
const DAY = 24 * 60 * 60 * 1000;

/**
 * Finds and opens libtorch, and downloads it first when it is found nowhere.
 *
 * @throws {LibtorchNotFoundError} when one was found or fetched but will not open.
 * @throws {Error} when it cannot be downloaded, with the end of pip's output.
 *
 * @example
 * ```ts
 * import { ensureLibtorch } from "@lorikeet/lorikeet";
 *
 * const { version } = await ensureLibtorch();
 * if (!/^2\./.test(version)) throw new Error("unexpected version");
 * ```
 */
export async function ensureLibtorch(
  options: FetchOptions = {},
): Promise<Libtorch> {
  try {
    libraries();
  } catch (error) {
    if (!(error instanceof LibtorchNotFoundError)) throw error;
    const fetched = fetchedFolder();
    if (fetched !== null && fileInfo(fetched) !== null) throw error;
    await fetchLibtorch(options);
  }
  const { folder, version, passedOver } = libraries();
  for (const { origin, problem } of passedOver) {
    if (!origin.startsWith("LIBTORCH=")) continue;
    options.onWarning?.(`${origin} ${problem}; using ${folder}`);
  }
  const part = (shift: bigint): bigint => (version >> shift) & 0xffn;
  return {
    folder,
    version: `${part(56n)}.${part(48n)}.${part(40n)}`,
    cuda: cudaIsAvailable(),
  };
}

/**
 * Installs PyTorch into the cache folder with the pip of the Python on PATH, and
 * returns the folder. An installation appears there complete or not at all.
 *
 * @throws {InputError} when there is no pip or no folder for the cache, or when
 *   pip fails; the message then ends with pip's last lines.
 */
export async function fetchLibtorch(
  options: FetchOptions = {},
): Promise<string> {
  const final = fetchedFolder();
  if (final === null) {
    throw new InputError(
      "Cannot fetch libtorch: HOME is not set, set it or LORIKEET_CACHE to the folder to keep it in",
    );
  }
  if (fileInfo(final) !== null) return final;
  const { onProgress = () => {}, gpu = await hasNvidiaDriver() } = options;
  const partial = `${final}.partial-${Deno.pid}`;
  removeStale();
  Deno.mkdirSync(`${partial}/tmp`, { recursive: true });
  try {
    const here = Deno.realPathSync(partial);
    const pip: Pip = {
      site: `${here}/site`,
      tmp: `${here}/tmp`,
      onProgress,
    };
    const whole = await install(pip, gpu);
    onProgress("Keeping the libraries of PyTorch");
    const kept = gpu ? whole : keepCpu(whole, `${partial}/kept`);
    await tryToOpen(`${kept}/torch/lib/${libraryNames().cpu}`);
    moveInto(kept, final);
  } finally {
    Deno.removeSync(partial, { recursive: true });
  }
  return final;
}

async function install(pip: Pip, gpu: boolean): Promise<string> {
  const torch = `torch==${TORCH_VERSION}`;
  await runPip(pip, gpu ? [torch] : ["--no-deps", torch]);
  const { cpu } = libraryNames();
  if (fileInfo(`${pip.site}/torch/lib/${cpu}`) === null) {
    throw new InputError(
      `Cannot use the PyTorch that pip installed: it has no torch/lib/${cpu}`,
    );
  }
  const toolkit = gpu ? null : cudaToolkitOf(pip.site);
  if (toolkit !== null) await runPip(pip, [toolkit]);
  return pip.site;
}

/**
 * Opens a library in another process, because this process may have to open
 * another copy.
 */
async function tryToOpen(path: string): Promise<void> {
  const code = "import ctypes, sys; ctypes.CDLL(sys.argv[1])";
  for (const python of ["python3", "python"]) {
    try {
      const { success, stderr } = await new Deno.Command(python, {
        args: [ISOLATED, "-c", code, path],
      }).output();
      if (success) return;
      const reason = new TextDecoder().decode(stderr).trim().split("\n").at(-1);
      throw new InputError(
        `Cannot use the PyTorch that pip installed: it does not open (${reason})`,
      );
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/**
 * The package, with its exact version, that the `libtorch_cpu` of a CUDA build
 * needs to open on a machine without a GPU; `null` for a CPU build.
 */
function cudaToolkitOf(site: string): string | null {
  if (Deno.build.os !== "linux") return null;
  for (const entry of Deno.readDirSync(site)) {
    if (!/^torch-.*\.dist-info$/.test(entry.name)) continue;
    const metadata = Deno.readTextFileSync(`${site}/${entry.name}/METADATA`);
    const pinned = /^Requires-Dist: cuda-toolkit\[[^\]]*\](==[\w.]+)/m.exec(
      metadata,
    );
    if (pinned !== null) return `cuda-toolkit[cudart,cupti]${pinned[1]}`;
  }
  return null;
}

/**
 * Moves what is needed on a CPU from `site` to `kept`: libraries, licences and
 * version files.
 */
function keepCpu(site: string, kept: string): string {
  for (const path of filesBelow(site)) {
    if (!isForCpu(path)) continue;
    const folder = `${kept}/${path}`.replace(/\/[^/]*$/, "");
    Deno.mkdirSync(folder, { recursive: true });
    Deno.renameSync(`${site}/${path}`, `${kept}/${path}`);
  }
  return kept;
}

function isForCpu(path: string): boolean {
  if (path === "torch/version.py" || path.includes(".dist-info/")) return true;
  if (!/\.(so|dylib)(\.\d+)*$/.test(path) || SPARE.test(path)) return false;
  return /^(torch\/lib|torch\.libs|nvidia)\//.test(path);
}

function* filesBelow(root: string, folder = ""): Generator<string> {
  for (const entry of Deno.readDirSync(`${root}/${folder}`)) {
    const path = `${folder}${entry.name}`;
    if (entry.isDirectory) yield* filesBelow(root, `${path}/`);
    else yield path;
  }
}

function moveInto(folder: string, final: string): void {
  try {
    Deno.renameSync(folder, final);
  } catch (error) {
    // Another process finished first and has put the same files there.
    if (fileInfo(final) === null) throw error;
  }
}

/** Removes what downloads that were killed more than a day ago left behind. */
function removeStale(): void {
  const cache = cacheFolder();
  if (cache === null || fileInfo(cache) === null) return;
  for (const { name } of Deno.readDirSync(cache)) {
    if (!/^torch-.*\.partial-\d+$/.test(name)) continue;
    const changed = Deno.statSync(`${cache}/${name}`).mtime?.getTime();
    if (changed !== undefined && Date.now() - changed > DAY) {
      Deno.removeSync(`${cache}/${name}`, { recursive: true });
    }
  }
}

async function hasNvidiaDriver(): Promise<boolean> {
  try {
    const { success } = await new Deno.Command("nvidia-smi", {
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch {
    return false;
  }
}
