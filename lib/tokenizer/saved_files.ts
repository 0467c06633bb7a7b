/**
 * The tokenizer files of an output folder: those of the model's folder, so that
 * others load it to the same ids.
 *
 * @module
 */

import { writeFileAtomic } from "../formats/atomic_file.ts";
import { fileInfo } from "../formats/file_info.ts";
import { classNamed, plainName } from "./rebuilt_classes.ts";
import type { ConvertedFiles } from "./sentencepiece_json.ts";
import {
  type JsonObject,
  readBytes,
  type TokenizerFiles,
} from "./tokenizer_files.ts";
import type { TokenizerSpec } from "./tokenizer_spec.ts";

/** Every file name that belongs to a tokenizer, in the order of saving. */
const FILE_NAMES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
  "tokenizer.model",
  "qwen.tiktoken",
  "spiece.model",
  "sentencepiece.bpe.model",
  "vocab.json",
  "merges.txt",
  "vocab.txt",
] as const;
const TEMPLATES = "additional_chat_templates";

/** A loaded tokenizer, as far as its files are concerned. */
export interface SavedTokenizer {
  /** The files that it was loaded from. */
  readonly files: TokenizerFiles;
  /** How it was built. */
  readonly spec: TokenizerSpec;
  /** See `FolderTokenizer`. */
  readonly converted: () => ConvertedFiles | null;
}

/** Writes a tokenizer's files to the folder `to`; see `AutoTokenizer.savePretrained`. */
export function saveTokenizer(
  { files, spec, converted }: SavedTokenizer,
  to: string,
): void {
  if (files.isMade) writeTokenizerFiles(files, to);
  else {
    copyTokenizerFiles(files.directory, to);
    const isOwn = Deno.realPathSync(to) === Deno.realPathSync(files.directory);
    if (isOwn) return;
  }
  const found = converted();
  if (found !== null) return writeConverted(files, to, found);
  const name = files.isMade ? null : savedClass(files, spec);
  if (name !== null) writeClass(files, to, name);
}

/**
 * The class that tokenizer_config.json must name in a folder without the model's
 * config.json, for the same ids; null where it needs no other one.
 */
function savedClass(
  { config, modelConfig, vocabulary }: TokenizerFiles,
  { builtBy }: TokenizerSpec,
): string | null {
  const named = config["tokenizer_class"];
  if (builtBy !== null) return plainName(named) === builtBy ? null : builtBy;
  const name = named ?? modelConfig["tokenizer_class"];
  if (vocabulary === null && classNamed(name) !== null) {
    return "PreTrainedTokenizerFast";
  }
  return typeof named !== "string" && typeof name === "string" ? name : null;
}

/** Writes files that were made from another format into the folder `to`. */
function writeTokenizerFiles(files: TokenizerFiles, to: string): void {
  Deno.mkdirSync(to, { recursive: true });
  const write = (name: string, text: string): void =>
    writeFileAtomic(`${to}/${name}`, new TextEncoder().encode(text));
  const json = (value: JsonObject): string =>
    `${JSON.stringify(value, null, 2)}\n`;
  const { vocabulary } = files;
  if (vocabulary === null) write("tokenizer.json", json(files.tokenizer));
  else writeFileAtomic(`${to}/${vocabulary.name}`, vocabulary.bytes);
  write("tokenizer_config.json", json(files.config));
  if (files.chatTemplate !== null) {
    write("chat_template.jinja", files.chatTemplate);
  }
}

/** Copies the tokenizer files of one folder to another, byte for byte. */
function copyTokenizerFiles(from: string, to: string): void {
  Deno.mkdirSync(to, { recursive: true });
  if (Deno.realPathSync(from) === Deno.realPathSync(to)) return;
  const names: string[] = [...FILE_NAMES];
  if (fileInfo(`${from}/${TEMPLATES}`)?.isDirectory) {
    Deno.mkdirSync(`${to}/${TEMPLATES}`, { recursive: true });
    for (const { name } of Deno.readDirSync(`${from}/${TEMPLATES}`)) {
      if (name.endsWith(".jinja")) names.push(`${TEMPLATES}/${name}`);
    }
  }
  for (const name of names) {
    const source = `${from}/${name}`;
    if (fileInfo(source) !== null) {
      writeFileAtomic(`${to}/${name}`, readBytes(source));
    }
  }
}

/**
 * Writes tokenizer_config.json into `directory` with the class called `name`. A
 * folder without the model's config.json is taken for the class that is named
 * there, which may build another tokenizer.
 */
function writeClass(
  { config }: TokenizerFiles,
  directory: string,
  name: string,
): void {
  const content = { ...config, tokenizer_class: name };
  const text = `${JSON.stringify(content, null, 2)}\n`;
  writeFileAtomic(
    `${directory}/tokenizer_config.json`,
    new TextEncoder().encode(text),
  );
}

/**
 * Writes a tokenizer.json into `directory`, and tokenizer_config.json with `config`'s
 * fields. The class's own code is not needed for it.
 */
function writeConverted(
  files: TokenizerFiles,
  directory: string,
  { tokenizer, config }: ConvertedFiles,
): void {
  const { auto_map: _, ...rest } = files.config;
  const write = (name: string, value: JsonObject): void =>
    writeFileAtomic(
      `${directory}/${name}`,
      new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`),
    );
  write("tokenizer.json", tokenizer);
  write("tokenizer_config.json", { ...rest, ...config });
}
