/**
 * Opens libtorch once, when the first tensor needs it. Importing this file costs
 * nothing and needs no permission.
 *
 * @module
 */

import {
  C10_SYMBOLS,
  CUDA_SYMBOLS,
  LIBC_SYMBOLS,
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
  /** Places that were looked in before, and would not do. */
  readonly passedOver: readonly Place[];
  /** libtorch's version word, which the dispatcher wants back. */
  readonly version: bigint;
}

/** libtorch is nowhere to be found or will not open. */
export class LibtorchNotFoundError extends Error {
  /** The class's name, as messages show it. */
  override readonly name = "LibtorchNotFoundError";

  /** Makes the message from every place that was tried. */
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
let cuda: Deno.DynamicLibrary<typeof CUDA_SYMBOLS>["symbols"] | undefined;

/**
 * The opened libraries; the first call finds and opens them.
 *
 * @throws {LibtorchNotFoundError} naming every place tried.
 */
export function libraries(): Libraries {
  opened ??= openLibraries();
  return opened;
}

function openLibraries(): Libraries {
  const tried: Place[] = [];
  for (const place of searchLibtorch()) {
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

function openFolder(folder: string): Omit<Libraries, "passedOver"> {
  const names = libraryNames();
  const torch = Deno.dlopen(`${folder}/${names.cpu}`, TORCH_SYMBOLS).symbols;
  const c10 = Deno.dlopen(`${folder}/${names.c10}`, C10_SYMBOLS).symbols;
  const libc = Deno.dlopen(
    Deno.build.os === "darwin" ? "libSystem.dylib" : "libc.so.6",
    LIBC_SYMBOLS,
  ).symbols;
  return { folder, torch, c10, libc, version: torch.aoti_torch_abi_version() };
}

/**
 * Opens `libtorch_cuda` beside libtorch, which registers the CUDA kernels.
 *
 * @throws {Error} with the loader's words when there is none or it needs what is not there.
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
