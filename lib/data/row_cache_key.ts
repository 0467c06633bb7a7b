/**
 * The key under which encoded rows are kept: a SHA-256 of the bytes of rows and
 * tokenizer, of all settings, and of the code that encodes them.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { readGguf } from "../formats/gguf.ts";
import type { EncodingOptions } from "./encoded_files.ts";
import { isBuiltInFormat } from "./prompt_format.ts";

/** Files of a model that no tokenizer reads. */
const WEIGHTS = /\.(?:safetensors|bin|pt|pth|h5|msgpack|onnx|gguf)$/i;
/** Texts made from the time of day are other ones each time. */
const CLOCK = /strftime_now\([^)]*%[^aAbBdjmyYxUWu%][^)]*\)/;

/**
 * What a model's tokenizer is made from: a SHA-256 of all files in `path` that are
 * not weights, or of the header of a GGUF file.
 */
export function modelFilesKey(path: string): string {
  const hash = createHash("sha256");
  if (Deno.statSync(path).isFile) {
    return hash.update(ggufHeader(path)).digest("hex");
  }
  for (const name of filesBelow(path)) {
    const isGguf = /\.gguf$/i.test(name);
    if (WEIGHTS.test(name) && !isGguf) continue;
    const file = `${path}/${name}`;
    add(hash, name);
    add(hash, isGguf ? ggufHeader(file) : Deno.readFileSync(file));
  }
  return hash.digest("hex");
}

/** The names of all files of a folder and the folders in it, in order. */
function filesBelow(folder: string, start = ""): string[] {
  return [...Deno.readDirSync(`${folder}/${start}`)]
    .sort((one, other) => one.name < other.name ? -1 : 1)
    .flatMap(({ name }) => {
      const path = `${start}${name}`;
      const { isDirectory, isFile } = Deno.statSync(`${folder}/${path}`);
      if (isFile) return [path];
      const isHidden = name.startsWith(".");
      return isDirectory && !isHidden ? filesBelow(folder, `${path}/`) : [];
    });
}

function ggufHeader(path: string): string {
  const { metadata } = readGguf(path);
  return JSON.stringify(
    [...metadata],
    (_, value) => typeof value === "bigint" ? `${value}n` : value,
  );
}

/**
 * The key of the rows of `paths`; `null` where they must not be kept: for a prompt
 * format that a program has registered, whose code is not known here, and for a
 * template that spells the time. `code` is the {@linkcode codeKey} of what encodes.
 */
export function rowsKey(
  paths: readonly string[],
  options: EncodingOptions & { readonly tokenizerKey: string },
  code = codeKey(),
): string | null {
  const { tokenizer, promptFormat = "auto", storedFormat = null } = options;
  const templates = [tokenizer.chatTemplate, storedFormat?.chatTemplate];
  const names = [promptFormat, storedFormat?.name ?? "auto"];
  if (
    templates.some((it) => it !== null && it !== undefined && CLOCK.test(it)) ||
    !names.every((name) => name === "auto" || isBuiltInFormat(name)) ||
    code === null
  ) return null;
  const hash = createHash("sha256");
  add(hash, code);
  add(hash, options.tokenizerKey);
  add(
    hash,
    JSON.stringify([
      tokenizer.bosTokenId,
      tokenizer.eosTokenId,
      tokenizer.specialTokens,
      [options.config.eos_token_id].flat()[0],
      options.maxSeqLength,
      options.shape ?? "auto",
      options.trainOn ?? "all",
      [...names, ...templates],
      templates.some((it) => it?.includes("strftime_now"))
        ? new Date().toDateString()
        : null,
    ]),
  );
  for (const path of paths) {
    // the name's end says what kind of file it is
    add(hash, /(?:\.csv)?(?:\.gz)?$/i.exec(path)![0].toLowerCase());
    addFile(hash, path);
  }
  return hash.digest("hex");
}

/** The content of a file with its length, piece by piece. */
function addFile(hash: ReturnType<typeof createHash>, path: string): void {
  using file = Deno.openSync(path);
  hash.update(`${file.statSync().size}:`);
  const buffer = new Uint8Array(2 ** 20);
  for (;;) {
    const count = file.readSync(buffer);
    if (count === null) return;
    hash.update(buffer.subarray(0, count));
  }
}

/** Each part with its length, so that no two lists of parts look the same. */
function add(
  hash: ReturnType<typeof createHash>,
  part: string | Uint8Array,
): void {
  hash.update(`${part.length}:`).update(part);
}

/** Everything that takes part in making ids of rows. */
const CODE = ["data", "formats", "tokenizer", "input_error.ts"];

/**
 * A SHA-256 of the code in the folder `root` where it can be read, or its address,
 * which has the version; `null` where the code is packed into a program.
 */
export function codeKey(root = new URL("../", import.meta.url)): string | null {
  if (root.protocol !== "file:") return root.href;
  const hash = createHash("sha256");
  try {
    for (const place of CODE) {
      const path = new URL(place, root);
      const files = path.pathname.endsWith(".ts")
        ? [path]
        : filesBelow(decodeURIComponent(path.pathname))
          .map((name) => new URL(`${place}/${name}`, root));
      for (const file of files) add(hash, Deno.readFileSync(file));
    }
    return hash.update(Deno.version.deno).digest("hex");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
