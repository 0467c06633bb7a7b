/**
 * A tokenizer.json from the two files that byte-level classes were published with
 * before there was one: vocab.json and merges.txt. How the class cuts a text stands
 * in {@linkcode classNamed}, as the classes of transformers 5 do it.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import {
  BYTE_LEVEL_NAMES,
  classNamed,
  classOfModel,
  type RebuiltClass,
} from "./rebuilt_classes.ts";
import type { SpecialTokens } from "./special_tokens.ts";
import type { JsonObject } from "./tokenizer_files.ts";

/** The two files of a folder, and what stands beside them. */
export interface ByteLevelParts {
  /** The folder, for messages. */
  readonly directory: string;
  /** vocab.json. */
  readonly vocabulary: JsonObject;
  /** merges.txt. */
  readonly merges: string;
  /** tokenizer_config.json. */
  readonly config: JsonObject;
  /** The model's config.json. */
  readonly modelConfig: JsonObject;
}

/** The content of a tokenizer.json, and the tokens by role of its class. */
export interface BuiltTokenizer {
  /** The content. */
  readonly json: JsonObject;
  /** Tokens by role that hold where the files name none. */
  readonly defaults: SpecialTokens;
  /** Name of the class. */
  readonly className: string;
}

/**
 * Builds the content of a tokenizer.json.
 *
 * @throws {InputError} when the class is another one or a line is no pair.
 */
export function byteLevelTokenizer(parts: ByteLevelParts): BuiltTokenizer {
  const rules = classOf(parts);
  return {
    className: rules.name,
    json: {
      added_tokens: [],
      ...rules.parts(parts.config),
      model: {
        ...rules.model({}),
        vocab: parts.vocabulary,
        merges: mergesOf(parts),
      },
    },
    defaults: rules.defaults,
  };
}

function classOf(
  { directory, config, modelConfig }: ByteLevelParts,
): RebuiltClass {
  const named = config["tokenizer_class"] ?? modelConfig["tokenizer_class"];
  const found = named === undefined || named === null
    ? classOfModel(modelConfig["model_type"])
    : classNamed(named);
  if (found?.isByteLevel) return found;
  throw new InputError(
    `Cannot load tokenizer from ${
      quoted(directory)
    }: it has vocab.json and merges.txt of the class ${
      quoted(named ?? "")
    }, a tokenizer.json is needed, or the class ${
      BYTE_LEVEL_NAMES.join(" or ")
    }`,
  );
}

/** One pair a line; the first line may name the version. */
function mergesOf({ directory, merges }: ByteLevelParts): [string, string][] {
  const pairs: [string, string][] = [];
  for (const [i, line] of merges.split("\n").entries()) {
    const text = line.replace(/\r$/, "");
    if (text === "" || text.startsWith("#version")) continue;
    const [left, right, ...others] = text.split(" ");
    if (right === undefined || others.length > 0) {
      throw new InputError(
        `Cannot load tokenizer from ${quoted(directory)}: in merges.txt line ${
          i + 1
        } is ${quoted(text.slice(0, 80))}, two tokens with a space are needed`,
      );
    }
    pairs.push([left!, right]);
  }
  return pairs;
}
