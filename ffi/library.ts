/**
 * Opens libtorch once, when the first tensor needs it. Importing this file opens
 * nothing and needs no permission.
 *
 * @module
 */

import {
  C10_SYMBOLS,
  CUDA_SYMBOLS,
  LIBC_SYMBOLS,
  LOADER_SYMBOLS,
  TORCH_SYMBOLS,
} from "./symbols.ts";
import {
  fetchedFolder,
  libraryNames,
  type Place,
  searchLibtorch,
  TORCH_VERSION,
} from "./search.ts";

/** The opened libraries. */
export interface Libraries {
  /** The folder they were found in. */
  readonly folder: string;
  readonly torch: Deno.DynamicLibrary<typeof TORCH_SYMBOLS>["symbols"];
  readonly c10: Deno.DynamicLibrary<typeof C10_SYMBOLS>["symbols"];
  readonly libc: Deno.DynamicLibrary<typeof LIBC_SYMBOLS>["symbols"];
  /** Places searched before this one that had no usable libtorch. */
  readonly passedOver: readonly Place[];
  /** libtorch's version number, which the dispatcher expects with every call. */
  readonly version: bigint;
}

/** libtorch was not found, or it does not open. */
export class LibtorchNotFoundError extends Error {
  /** The class's name, as messages show it. */
  override readonly name = "LibtorchNotFoundError";

  /** Builds the message from all places that were searched. */
  constructor(readonly places: readonly Place[], options?: ErrorOptions) {
    const tried = places.map((each) => `  ${each.origin}: ${each.problem}`);
    super(
      [
        `Cannot find libtorch: no place has one that opens, run "deno task setup" ` +
        `(it fetches PyTorch ${TORCH_VERSION} with pip into ${
          fetchedFolder() ?? "the folder that LORIKEET_CACHE names"
        }) ` +
        `or set LIBTORCH to a folder that has lib/${libraryNames().cpu}`,
        "Tried:",
        ...tried,
      ].join("\n"),
      options,
    );
  }
}

let opened: Libraries | undefined;
/** The search that {@linkcode loadLibtorch} has begun, and what it has passed. */
let begun: { seen: Place[]; rest: Generator<Place> } | undefined;
let cuda: Deno.DynamicLibrary<typeof CUDA_SYMBOLS>["symbols"] | undefined;

/**
 * The opened libraries; the first call finds and opens them.
 *
 * @throws {LibtorchNotFoundError} naming every place that was searched.
 */
export function libraries(): Libraries {
  opened ??= openLibraries();
  return opened;
}

/**
 * Loads libtorch on another thread, while this one does something else: {@linkcode
 * libraries} then only has to wait for what is left. Where there is none, or where it
 * does not load, nothing happens: `libraries` says so.
 */
export async function loadLibtorch(): Promise<void> {
  if (opened !== undefined || begun !== undefined) return;
  const search = { seen: [] as Place[], rest: searchLibtorch() };
  for (let next; !(next = search.rest.next()).done;) {
    search.seen.push(next.value);
    const { folder, problem } = next.value;
    if (folder === null || problem !== null) continue;
    begun = search;
    setVariables();
    const path = cString(`${folder}/${libraryNames().cpu}`);
    const { dlopen } = Deno.dlopen(libcName(), LOADER_SYMBOLS).symbols;
    await dlopen(path, RTLD_LAZY);
    return;
  }
}

/** Every place in order, those that a begun search has passed first. */
function* places(): Generator<Place> {
  const { seen, rest } = begun ?? { seen: [], rest: searchLibtorch() };
  // what is fetched afterwards is not known to this search
  begun = undefined;
  yield* seen;
  yield* rest;
}

function openLibraries(): Libraries {
  const tried: Place[] = [];
  for (const place of places()) {
    if (place.folder !== null && place.problem === null) {
      try {
        return { ...openFolder(place.folder), passedOver: tried };
      } catch (error) {
        if (error instanceof Deno.errors.NotCapable) throw error;
        tried.push({ ...place, problem: (error as Error).message });
        continue;
      }
    }
    tried.push(place);
  }
  throw new LibtorchNotFoundError(tried);
}

/** `text` as C reads it, with a zero byte at its end. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

/** `dlfcn.h`: functions are looked up when they are called first. */
const RTLD_LAZY = 1;

/**
 * Defaults of variables that libtorch's libraries read once. oneDNN keeps the code of
 * this many products, each made for one number of tokens. Its own default is 1,024:
 * batches of ever new lengths fill that with hundreds of megabytes. A step of a model
 * whose layers are alike needs about 40.
 */
const VARIABLES = { ONEDNN_PRIMITIVE_CACHE_CAPACITY: "128" };

/**
 * How libtorch keeps the memory of CUDA devices: in segments that grow, because batches
 * of ever new lengths break up those of fixed sizes.
 */
const ALLOCATOR = { PYTORCH_ALLOC_CONF: "expandable_segments:True" };
/** The older name, which libtorch reads where the other is not set. */
const OLD_ALLOCATOR = "PYTORCH_CUDA_ALLOC_CONF";

function libcName(): string {
  return Deno.build.os === "darwin" ? "libSystem.dylib" : "libc.so.6";
}

function setVariables(): Libraries["libc"] {
  const libc = Deno.dlopen(libcName(), LIBC_SYMBOLS).symbols;
  const variables = libc.getenv(cString(OLD_ALLOCATOR)) === null
    ? { ...VARIABLES, ...ALLOCATOR }
    : VARIABLES;
  for (const [name, value] of Object.entries(variables)) {
    // 0: what the user has set stays
    libc.setenv(cString(name), cString(value), 0);
  }
  return libc;
}

function openFolder(folder: string): Omit<Libraries, "passedOver"> {
  const names = libraryNames();
  const libc = setVariables();
  const torch = Deno.dlopen(`${folder}/${names.cpu}`, TORCH_SYMBOLS).symbols;
  const c10 = Deno.dlopen(`${folder}/${names.c10}`, C10_SYMBOLS).symbols;
  return { folder, torch, c10, libc, version: torch.aoti_torch_abi_version() };
}

/**
 * Opens `libtorch_cuda` next to libtorch, which registers the CUDA kernels.
 *
 * @throws {Error} with the loader's message when the library, or one that it
 *   needs, is missing.
 */
export function openCuda(): Deno.DynamicLibrary<
  typeof CUDA_SYMBOLS
>["symbols"] {
  if (cuda !== undefined) return cuda;
  const { folder } = libraries();
  cuda = Deno.dlopen(`${folder}/${libraryNames().cuda}`, CUDA_SYMBOLS).symbols;
  return cuda;
}

/** Whether this machine has an NVIDIA driver and this libtorch has CUDA kernels. */
export function cudaIsAvailable(): boolean {
  try {
    Deno.statSync(`${libraries().folder}/${libraryNames().cuda}`);
    Deno.dlopen("libcuda.so.1", {}).close();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    if (error instanceof LibtorchNotFoundError) throw error;
    return false;
  }
  return true;
}
