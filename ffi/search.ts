/**
 * The places where libtorch may be, in the order in which they are searched.
 * Every place that was searched is kept, with the reason why it could not be
 * used.
 *
 * @module
 */

/** The PyTorch release that lorikeet is built for, tested with, and downloads. */
export const TORCH_VERSION = "2.13.0";
const OLDEST = [2, 11] as const;
const NO_TORCH = "is not installed";
/** Runs Python without the working folder and without PYTHON… variables. */
export const ISOLATED = "-I";
// `-I` also leaves out two folders where people install PyTorch; these are added
// again. The working folder, and an empty or relative entry of PYTHONPATH, stay
// out.
const WHERE_IS_TORCH = `
import importlib.util, os, site, sys
paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
own = [path for path in paths if os.path.isabs(path)]
if sys.prefix == sys.base_prefix: own.append(site.getusersitepackages())
sys.path[:0] = own
found = importlib.util.find_spec("torch")
print(found.submodule_search_locations[0] if found else "")
`;

/** File names of the libraries on this operating system. */
export interface LibraryNames {
  readonly cpu: string;
  readonly c10: string;
  readonly cuda: string;
}

/** The library file names of `os`. */
export function libraryNames(os: string = Deno.build.os): LibraryNames {
  const file = (stem: string): string =>
    os === "darwin" ? `lib${stem}.dylib` : `lib${stem}.so`;
  return {
    cpu: file("torch_cpu"),
    c10: file("c10"),
    cuda: file("torch_cuda"),
  };
}

/** A place that was searched for libtorch. */
export interface Place {
  /** Where the place comes from, for messages. */
  readonly origin: string;
  /** The folder with the libraries, when the place has one. */
  readonly folder: string | null;
  /** Why it cannot be used, or `null` when it can be opened. */
  readonly problem: string | null;
}

/**
 * The folder of downloaded libtorch builds: `LORIKEET_CACHE` or the user's cache
 * folder. `null` where neither is known: the working folder is never used, since
 * a library planted there by somebody else would be loaded.
 */
export function cacheFolder(): string | null {
  const own = Deno.env.get("LORIKEET_CACHE");
  if (own) return own;
  const absolute = (name: string): string | undefined => {
    const path = Deno.env.get(name);
    return path?.startsWith("/") ? path : undefined;
  };
  const cache = absolute("XDG_CACHE_HOME");
  if (cache !== undefined) return `${cache}/lorikeet`;
  const home = absolute("HOME");
  if (home === undefined) return null;
  return Deno.build.os === "darwin"
    ? `${home}/Library/Caches/lorikeet`
    : `${home}/.cache/lorikeet`;
}

/**
 * Where a downloaded libtorch is installed; `null` where there is no {@linkcode
 * cacheFolder}.
 */
export function fetchedFolder(): string | null {
  const cache = cacheFolder();
  return cache === null ? null : `${cache}/torch-${TORCH_VERSION}`;
}

/**
 * Searches every place in order: `LIBTORCH`, the torch of the Python on PATH,
 * what an earlier run downloaded.
 */
export function* searchLibtorch(): Generator<Place> {
  const own = Deno.env.get("LIBTORCH");
  if (own) yield examine(`LIBTORCH=${own}`, [`${own}/lib`, own]);
  else yield { origin: "LIBTORCH", folder: null, problem: "is not set" };
  for (const python of ["python3", "python"]) {
    const place = examinePython(python);
    yield place;
    // Where both names exist they are the same Python.
    if (place.folder !== null || place.problem === NO_TORCH) break;
  }
  const fetched = fetchedFolder();
  if (fetched !== null) return yield examine(fetched, [`${fetched}/torch/lib`]);
  yield {
    origin: "the cache",
    folder: null,
    problem: "has no place without HOME",
  };
}

function examine(origin: string, folders: readonly string[]): Place {
  const { cpu } = libraryNames();
  const folder = folders.find((each) => exists(`${each}/${cpu}`));
  if (folder === undefined) {
    return { origin, folder: null, problem: `has no ${cpu}` };
  }
  const version = versionOf(folder);
  const problem = version === null || isRecent(version)
    ? null
    : `is PyTorch ${version}, 2.11 or newer is needed`;
  return { origin, folder, problem };
}

/** Asks a Python where its torch is, without importing torch. */
function examinePython(python: string): Place {
  const origin = `the torch of ${python} on PATH`;
  try {
    const { success, stdout } = new Deno.Command(python, {
      args: [ISOLATED, "-c", WHERE_IS_TORCH],
      stderr: "null",
    }).outputSync();
    const folder = new TextDecoder().decode(stdout).trim();
    if (!success) return { origin, folder: null, problem: "does not run" };
    if (folder === "") return { origin, folder: null, problem: NO_TORCH };
    return examine(origin, [`${folder}/lib`]);
  } catch (error) {
    const problem = error instanceof Deno.errors.NotFound
      ? "there is no such Python"
      : error instanceof Deno.errors.NotCapable
      ? `cannot be asked without --allow-run=${python}`
      : `could not be asked (${(error as Error).message})`;
    return { origin, folder: null, problem };
  }
}

/**
 * The version that a build states: `version.py` of a wheel, `build-version` of
 * an archive.
 */
function versionOf(folder: string): string | null {
  for (const file of ["../version.py", "../build-version"]) {
    try {
      const text = Deno.readTextFileSync(`${folder}/${file}`);
      const match = /\d+\.\d+\.\d+[\w+.]*/.exec(text);
      if (match) return match[0];
    } catch {
      // this kind of build has the other file
    }
  }
  return null;
}

function isRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return false;
  }
}
