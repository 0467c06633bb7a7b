/**
 * The files next to a tokenizer.json: which of their settings change ids or text,
 * and whether the values have the right type. Settings that are not named here
 * change nothing in transformers 5.18 when there is a tokenizer.json
 * (`add_bos_token`, `do_lower_case`, `model_max_length`, `sp_model_kwargs` …).
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import {
  isJsonObject,
  type JsonObject,
  type TokenizerFiles,
} from "./tokenizer_files.ts";
import { ROLES, TOKEN_FLAGS } from "./special_tokens.ts";

const SWITCHES = [
  "add_bos_token",
  "add_eos_token",
  "add_prefix_space",
  "legacy",
  "split_special_tokens",
  "clean_up_tokenization_spaces",
  "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output",
] as const;

/** The problems of the files next to tokenizer.json, by the file's name. */
export function settingsProblems(
  files: TokenizerFiles,
): ReadonlyMap<string, readonly string[]> {
  const { config, specialTokensMap, addedTokens } = files;
  return new Map([
    ["tokenizer_config.json", configProblems(config)],
    ["special_tokens_map.json", specialTokenProblems(specialTokensMap)],
    ["added_tokens.json", idProblems(addedTokens)],
  ]);
}

/** Whether special tokens in a text are read as plain text. */
export function splitsSpecialTokens({ config }: TokenizerFiles): boolean {
  return config["split_special_tokens"] === true;
}

/**
 * Whether decoding removes spaces before punctuation. transformers ignores the
 * setting for BPE, where those spaces belong to the text.
 */
export function cleansUpSpaces(
  { config, tokenizer, vocabulary }: TokenizerFiles,
): boolean {
  const model = tokenizer["model"];
  const isBpe = vocabulary !== null ||
    (isJsonObject(model) && Object.hasOwn(model, "merges"));
  const isForced = config[SWITCHES[6]] === true;
  return config["clean_up_tokenization_spaces"] === true &&
    (!isBpe || isForced);
}

const CLEANED = [" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've"];

/** `text` without spaces before punctuation, as by `clean_up_tokenization()`. */
export function cleanedUp(text: string): string {
  return [...CLEANED, " 're"].reduce(
    (cleaned, part) => cleaned.replaceAll(part, part.trim()),
    text,
  );
}

function configProblems(config: JsonObject): string[] {
  const problems = specialTokenProblems(config);
  for (const name of SWITCHES) {
    const value = config[name] ?? false;
    if (typeof value === "boolean") continue;
    problems.push(`${name} is ${quoted(value)}, true or false is needed`);
  }
  const side = config["truncation_side"] ?? "right";
  if (side !== "right" && side !== "left") {
    problems.push(
      `truncation_side is ${quoted(side)}, left or right is needed`,
    );
  }
  const name = config["tokenizer_class"] ?? "";
  if (typeof name !== "string") {
    problems.push(`tokenizer_class is ${quoted(name)}, a string is needed`);
  }
  const added = config["added_tokens_decoder"] ?? {};
  if (!isJsonObject(added)) {
    problems.push(
      `added_tokens_decoder is ${quoted(added)}, an object is needed`,
    );
  } else {
    for (const [id, token] of Object.entries(added)) {
      const at = `added_tokens_decoder[${quoted(id)}]`;
      if (!/^\d{1,9}$/.test(id)) {
        problems.push(`${at} is named by no id, a whole number is needed`);
      }
      problems.push(...tokenProblems(token, at));
    }
  }
  return [...problems, ...templateProblems(config["chat_template"])];
}

function templateProblems(value: unknown): string[] {
  if (value === undefined || value === null || typeof value === "string") {
    return [];
  }
  const entries: readonly unknown[] = Array.isArray(value) ? value : [value];
  const isNamed = entries.every((entry) =>
    isJsonObject(entry) && typeof entry["name"] === "string" &&
    typeof entry["template"] === "string"
  );
  if (Array.isArray(value) && isNamed) return [];
  return [
    `chat_template is ${
      quoted(value)
    }, a string or a list of {"name": …, "template": …} is needed`,
  ];
}

function specialTokenProblems(source: JsonObject): string[] {
  const problems = ROLES.flatMap((role) => tokenProblems(source[role], role));
  for (const name of ["extra_special_tokens", "additional_special_tokens"]) {
    const value = source[name] ?? [];
    if (typeof value !== "object") {
      problems.push(`${name} is ${quoted(value)}, a list is needed`);
      continue;
    }
    for (const [key, token] of Object.entries(value)) {
      problems.push(...tokenProblems(token, `${name}[${quoted(key)}]`));
    }
  }
  return problems;
}

/** A token is a string, an object with `content`, or null for none. */
function tokenProblems(token: unknown, at: string): string[] {
  if (token === undefined || token === null || typeof token === "string") {
    return [];
  }
  if (!isJsonObject(token) || typeof token["content"] !== "string") {
    return [
      `${at} is ${quoted(token)}, a string or {"content": …} is needed`,
    ];
  }
  return TOKEN_FLAGS.filter((name) =>
    typeof (token[name] ?? false) !== "boolean"
  ).map((name) =>
    `${at}.${name} is ${quoted(token[name])}, true or false is needed`
  );
}

function idProblems(ids: JsonObject): string[] {
  return Object.entries(ids).filter(([, id]) =>
    typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= 2 ** 31
  ).map(([token, id]) =>
    `${quoted(token)} has the id ${
      quoted(id)
    }, a whole number from 0 on is needed`
  );
}

const MOST_PROBLEMS = 10;

/** Names everything that is wrong with the files of a folder, if anything is. */
export function refuseProblems(
  directory: string,
  problems: ReadonlyMap<string, readonly string[]>,
): void {
  const all = [...problems].flatMap(([file, found]) =>
    found.map((problem, i) => i === 0 ? `in ${file} ${problem}` : problem)
  );
  if (all.length === 0) return;
  const more = all.length - MOST_PROBLEMS;
  throw new InputError(
    `Cannot load tokenizer from ${quoted(directory)}: ${
      all.slice(0, MOST_PROBLEMS).join("; ")
    }${more > 0 ? `; and ${more} more` : ""}`,
  );
}
