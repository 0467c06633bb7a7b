/**
 * Checks a tokenizer.json before the tokenizers library reads it. On some invalid
 * files the library ends the whole process, at once or when a text is encoded;
 * such files are refused here, with an error. What the library refuses itself
 * with an error (a token that is not in the vocabulary, for example) is left to
 * it.
 *
 * @module
 */

import { quoted } from "../input_error.ts";
import { component, Findings } from "./component_fields.ts";
import {
  DECODERS,
  NORMALIZERS,
  POST_PROCESSORS,
  PRE_TOKENIZERS,
  templateProblem,
} from "./component_types.ts";
import { TOKEN_FLAGS } from "./special_tokens.ts";
import { readModel } from "./tokenizer_model.ts";
import { isJsonObject, type JsonObject } from "./tokenizer_files.ts";

const MOST_GROWTH = 300;

/** A tokenizer.json that can be passed to the library. */
export interface CheckedTokenizerJson {
  /** The content, without unknown fields. */
  readonly json: JsonObject;
  /** The length in characters up to which texts can be encoded. */
  readonly longestText: number;
  /** The length in characters up to which texts can be decoded. */
  readonly longestDecoded: number;
}

/** Reads the content of a tokenizer.json; all problems are added to `problems`. */
export function readTokenizerJson(
  json: JsonObject,
  problems: string[],
): CheckedTokenizerJson {
  const forward = new Findings();
  const backward = new Findings();
  if (json["version"] !== undefined && json["version"] !== "1.0") {
    forward.wrong("version", json["version"], '"1.0" is needed');
  }
  const part = (
    name: string,
    types: typeof NORMALIZERS,
    findings = forward,
  ): unknown => {
    const value = json[name] ?? null;
    return value === null
      ? null
      : component(() => types)(value, name, findings) ?? null;
  };
  const normalizer = part("normalizer", NORMALIZERS);
  const pre_tokenizer = part("pre_tokenizer", PRE_TOKENIZERS);
  const post_processor = part("post_processor", POST_PROCESSORS);
  const decoder = part("decoder", DECODERS, backward);
  const found = [...forward.problems, ...backward.problems];
  if (found.length === 0 && post_processor !== null) {
    const problem = templateProblem(post_processor as JsonObject);
    if (problem !== undefined) found.push(`post_processor ${problem}`);
  }
  for (const { growth } of [forward, backward]) {
    if (growth <= MOST_GROWTH) continue;
    found.push(
      `its components can make a text ${
        quoted(growth)
      } times longer, at most ${MOST_GROWTH} times is needed`,
    );
  }
  checkAddedTokens(json["added_tokens"], found);
  const findings = new Findings();
  const model = readModel(json["model"], findings);
  problems.push(...found, ...findings.problems);
  return {
    json: {
      version: "1.0",
      added_tokens: json["added_tokens"] ?? [],
      normalizer,
      pre_tokenizer,
      post_processor,
      decoder,
      model,
    },
    longestText: forward.longestText,
    longestDecoded: backward.longestText,
  };
}

function checkAddedTokens(value: unknown, problems: string[]): void {
  if (value === undefined) return;
  if (!Array.isArray(value)) {
    problems.push(`added_tokens is ${quoted(value)}, a list is needed`);
    return;
  }
  for (const [i, token] of value.entries()) {
    const at = `added_tokens[${i}]`;
    if (!isJsonObject(token)) {
      problems.push(`${at} is ${quoted(token)}, an object is needed`);
      continue;
    }
    problems.push(...tokenProblems(token, at));
    const id = token["id"];
    if (typeof id !== "number" || !isId(id)) {
      problems.push(
        `${at}.id is ${quoted(id)}, a whole number from 0 on is needed`,
      );
    }
  }
}

/** The problems of the text and the flags of a token given as an object. */
function tokenProblems(token: JsonObject, at: string): string[] {
  const problems: string[] = [];
  if (typeof token["content"] !== "string") {
    problems.push(
      `${at}.content is ${quoted(token["content"])}, a string is needed`,
    );
  }
  for (const name of TOKEN_FLAGS) {
    const flag = token[name];
    if (flag === undefined || typeof flag === "boolean") continue;
    problems.push(`${at}.${name} is ${quoted(flag)}, true or false is needed`);
  }
  return problems;
}

/** Whether `value` is an id that the library can store and tensors can index. */
function isId(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 31;
}
