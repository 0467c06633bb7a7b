/**
 * The model in a tokenizer.json: its vocabulary, and how words are split into
 * tokens. Only problems that would end the process, or never end, are searched
 * for: a vocabulary has hundreds of thousands of entries, and the library checks
 * each.
 *
 * @module
 */

import { quoted } from "../input_error.ts";
import {
  count,
  type Field,
  type Findings,
  flag,
  id,
  nullable,
  optional,
  text,
} from "./component_fields.ts";
import { isJsonObject, type JsonObject } from "./tokenizer_files.ts";

/** The fields of each type of model, except `type`, `vocab` and `merges`. */
const MODELS = {
  BPE: {
    dropout: nullable(count(0, 0)),
    unk_token: nullable(text),
    continuing_subword_prefix: nullable(text),
    end_of_word_suffix: nullable(text),
    fuse_unk: nullable(flag),
    byte_fallback: nullable(flag),
    ignore_merges: nullable(flag),
  },
  WordPiece: {
    unk_token: text,
    continuing_subword_prefix: text,
    // every end of a word is tried for every start
    max_input_chars_per_word: count(0, 10_000),
  },
  WordLevel: { unk_token: text },
  Unigram: { unk_id: nullable(id), byte_fallback: optional(flag) },
} satisfies Record<string, Readonly<Record<string, Field>>>;

type ModelType = keyof typeof MODELS;

const LONGEST_TOKEN = 100_000;

/** Reads the model; all problems are added to `findings`. */
export function readModel(value: unknown, findings: Findings): JsonObject {
  if (!isJsonObject(value)) {
    findings.wrong("model", value, "an object is needed");
    return {};
  }
  const type = typeOf(value);
  if (type === undefined) {
    const right = `one of ${Object.keys(MODELS).join(", ")} is needed`;
    findings.wrong("model.type", value["type"], right);
    return {};
  }
  const model: Record<string, unknown> = { type };
  for (const [name, field] of Object.entries<Field>(MODELS[type])) {
    const content = field(value[name], `model.${name}`, findings);
    if (content !== undefined) model[name] = content;
  }
  model["vocab"] = value["vocab"];
  const { problems, longest } = checkVocabulary(type, value["vocab"]);
  findings.problems.push(...problems);
  if (type === "BPE") {
    model["merges"] = value["merges"];
    if (findings.problems.length === 0) {
      findings.problems.push(...mergeProblems(model, longest));
    }
    if (findings.problems.length === 0) {
      model["merges"] = compactMerges(value["merges"] as unknown[]);
    }
  }
  return model;
}

/** Old files have no type; then the library takes the first that fits. */
function typeOf(model: JsonObject): ModelType | undefined {
  const type = model["type"];
  if (type === undefined) {
    if (Object.hasOwn(model, "merges")) return "BPE";
    if (Object.hasOwn(model, "max_input_chars_per_word")) return "WordPiece";
    return Array.isArray(model["vocab"]) ? "Unigram" : "WordLevel";
  }
  return typeof type === "string" && Object.hasOwn(MODELS, type)
    ? type as ModelType
    : undefined;
}

/** The problems of a vocabulary and the bytes of its longest token. */
function checkVocabulary(
  type: ModelType,
  vocabulary: unknown,
): { readonly problems: string[]; readonly longest: number } {
  const found = (...problems: string[]) => ({ problems, longest: 0 });
  if (type === "Unigram") return found(...unigramProblems(vocabulary));
  if (!isJsonObject(vocabulary)) {
    return found(
      `model.vocab is ${quoted(vocabulary)}, an object is needed`,
    );
  }
  let longest = 0;
  for (const token of Object.keys(vocabulary)) {
    const problem = lengthProblem(token);
    if (problem !== undefined) return found(problem);
    // no character has more than three bytes for each of its units
    if (3 * token.length > longest) longest = Math.max(longest, bytesOf(token));
    const id = vocabulary[token];
    if (typeof id === "number" && id >= 0 && id < 2 ** 31 && id % 1 === 0) {
      continue;
    }
    return found(
      `model.vocab[${quoted(token)}] is ${
        quoted(id)
      }, a whole number from 0 on is needed`,
    );
  }
  return { problems: [], longest };
}

function unigramProblems(vocabulary: unknown): string[] {
  if (!Array.isArray(vocabulary)) {
    return [`model.vocab is ${quoted(vocabulary)}, a list is needed`];
  }
  for (const [i, entry] of vocabulary.entries()) {
    const isEntry = Array.isArray(entry) && entry.length === 2 &&
      typeof entry[0] === "string" && Number.isFinite(entry[1]);
    if (!isEntry) {
      return [
        `model.vocab[${i}] is ${
          quoted(entry)
        }, a token and its score are needed`,
      ];
    }
    const problem = lengthProblem(entry[0]);
    if (problem !== undefined) return [problem];
  }
  return [];
}

function lengthProblem(token: string): string | undefined {
  if (token.length <= LONGEST_TOKEN) return undefined;
  return `model.vocab has a token of ${token.length} characters, at most ${LONGEST_TOKEN} are read`;
}

/**
 * The library joins both sides of a merge in a buffer as long as the longest
 * token, and ends the process when they do not fit; it removes the prefix of the
 * right side without checking that it is there.
 */
function mergeProblems(model: JsonObject, longest: number): string[] {
  const merges = model["merges"];
  if (!Array.isArray(merges)) {
    return [`model.merges is ${quoted(merges)}, a list is needed`];
  }
  const prefix = (model["continuing_subword_prefix"] ?? "") as string;
  for (let i = 0; i < merges.length; i++) {
    const merge: unknown = merges[i];
    const pair = typeof merge === "string" ? merge.split(" ") : merge;
    const isPair = Array.isArray(pair) && pair.length === 2;
    const left: unknown = isPair ? pair[0] : undefined;
    const right: unknown = isPair ? pair[1] : undefined;
    if (typeof left !== "string" || typeof right !== "string") {
      return [`model.merges[${i}] is ${quoted(merge)}, two tokens are needed`];
    }
    if (prefix !== "" && !right.startsWith(prefix)) {
      return [
        `model.merges[${i}] has ${
          quoted(right)
        } on its right, a token that starts with ${quoted(prefix)} is needed`,
      ];
    }
    const units = left.length + right.length - prefix.length;
    if (3 * units <= longest) continue;
    const rest = right.slice(prefix.length);
    if (bytesOf(left) + bytesOf(rest) > longest) {
      return [
        `model.merges[${i}] makes ${
          quoted(left + rest)
        }, which model.vocab does not have`,
      ];
    }
  }
  return [];
}

/** Merges in the older form, which the library reads faster: "left right". */
function compactMerges(merges: readonly unknown[]): readonly unknown[] {
  const lines: string[] = [];
  for (const merge of merges) {
    if (typeof merge === "string") return merges;
    const [left, right] = merge as [string, string];
    const line = `${left} ${right}`;
    // a second space would cut a token, and such a line is left out as a comment
    const isOlder = line.indexOf(" ") === left.length &&
      line.lastIndexOf(" ") === left.length && !line.startsWith("#version");
    if (!isOlder) return merges;
    lines.push(line);
  }
  return lines;
}

/** Length in UTF-8; half of a surrogate pair becomes three bytes. */
function bytesOf(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) bytes += code > 0x7ff ? 2 : 1;
    // two halves together are four bytes
    if ((code & 0xfc00) === 0xdc00) bytes -= 2;
  }
  return bytes;
}
