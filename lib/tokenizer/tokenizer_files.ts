/**
 * The files of a tokenizer folder as plain data: tokenizer.json, its settings
 * and its chat template. It refuses clearly; it does not interpret.
 *
 * @module
 */

import { fileInfo } from "../formats/file_info.ts";
import { InputError } from "../input_error.ts";
import { byteLevelTokenizer } from "./byte_level_parts.ts";
import type { SpecialTokens } from "./special_tokens.ts";

/** A JSON object of unknown content. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** A file that holds a vocabulary in another form than JSON. */
export interface VocabularyFile {
  /** The file's name. */
  readonly name: string;
  /** Its content. */
  readonly bytes: Uint8Array;
}

/** What a tokenizer folder holds; absent files are null. */
export interface TokenizerFiles {
  /** The folder, or the file that they were made from. */
  readonly directory: string;
  /** Whether they were made from another format and do not lie in the folder. */
  readonly isMade?: boolean;
  /** tokenizer.json, or what its older parts make; empty when there is a vocabulary instead. */
  readonly tokenizer: JsonObject;
  /** Whether it was made of vocab.json and merges.txt, and the class's tokens by role. */
  readonly partsDefaults?: SpecialTokens;
  /** The class of vocab.json and merges.txt. */
  readonly partsClass?: string;
  /** The vocabulary of a folder without tokenizer.json. */
  readonly vocabulary: VocabularyFile | null;
  /** tokenizer_config.json, empty when absent. */
  readonly config: JsonObject;
  /** special_tokens_map.json, empty when absent. */
  readonly specialTokensMap: JsonObject;
  /** added_tokens.json: token to id, empty when absent. */
  readonly addedTokens: JsonObject;
  /** The model's config.json, empty when absent. */
  readonly modelConfig: JsonObject;
  /** chat_template.jinja. */
  readonly chatTemplate: string | null;
}

/** Files that are read where there is no tokenizer.json, in this order. */
const VOCABULARIES = ["tokenizer.model", "qwen.tiktoken"] as const;

/**
 * Reads the tokenizer files of `directory`.
 *
 * @throws {InputError} when there is no tokenizer or a file is not JSON.
 */
export function readTokenizerFiles(directory: string): TokenizerFiles {
  const optional = (name: string): JsonObject =>
    readJson(directory, name) ?? {};
  const config = optional("tokenizer_config.json");
  const modelConfig = optional("config.json");
  const beside = {
    directory,
    config,
    modelConfig,
    specialTokensMap: optional("special_tokens_map.json"),
    addedTokens: optional("added_tokens.json"),
    chatTemplate: readText(directory, "chat_template.jinja"),
  };
  const tokenizer = readJson(directory, "tokenizer.json");
  if (tokenizer !== null) return { ...beside, tokenizer, vocabulary: null };
  const vocabulary = readVocabulary(directory);
  if (vocabulary !== null) return { ...beside, tokenizer: {}, vocabulary };
  const entries = readJson(directory, "vocab.json");
  const merges = readText(directory, "merges.txt");
  if (entries === null || merges === null) throw noTokenizer(directory);
  const { json, defaults, className } = byteLevelTokenizer({
    directory,
    vocabulary: entries,
    merges,
    config,
    modelConfig,
  });
  return {
    ...beside,
    tokenizer: json,
    partsDefaults: defaults,
    partsClass: className,
    vocabulary: null,
  };
}

/** The first of the other files that hold a vocabulary. */
function readVocabulary(directory: string): VocabularyFile | null {
  for (const name of VOCABULARIES) {
    const path = `${directory}/${name}`;
    if (fileInfo(path) !== null) return { name, bytes: readBytes(path) };
  }
  return null;
}

function noTokenizer(directory: string): InputError {
  const state = fileInfo(directory) === null
    ? "it does not exist"
    : `it has no tokenizer.json, ${
      VOCABULARIES.join(", ")
    }, or vocab.json with merges.txt`;
  return new InputError(
    `Cannot load tokenizer from "${directory}": ${state}, the folder of a model in Hugging Face format is needed`,
  );
}

function readJson(directory: string, name: string): JsonObject | null {
  const text = readText(directory, name);
  if (text === null) return null;
  const start = `Cannot load tokenizer from "${directory}": ${name}`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(`${start} is not JSON, ${reason}`, { cause: error });
  }
  if (isJsonObject(value)) return value;
  throw new InputError(`${start} is not a JSON object`);
}

/** Whether `value` is an object and no array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function readText(directory: string, name: string): string | null {
  const path = `${directory}/${name}`;
  return fileInfo(path) !== null
    ? new TextDecoder().decode(readBytes(path))
    : null;
}

/** Bytes of a file of a tokenizer. */
export function readBytes(path: string): Uint8Array {
  try {
    return Deno.readFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(`Cannot read "${path}": ${reason}`, { cause: error });
  }
}

/** The default chat template of a folder, null when it has none. */
export function chatTemplateOf(files: TokenizerFiles): string | null {
  if (files.chatTemplate !== null) return files.chatTemplate;
  const value = files.config["chat_template"];
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return null;
  const named = value.find((entry) => entry?.name === "default");
  return typeof named?.template === "string" ? named.template : null;
}
