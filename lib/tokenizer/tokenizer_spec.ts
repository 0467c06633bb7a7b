/**
 * What AutoTokenizer of transformers 5 makes of a tokenizer folder, as the JSON
 * that the tokenizers library reads. A folder whose class transformers builds anew
 * gets that class's own steps around its vocabulary; any other keeps its
 * tokenizer.json. Plain data, no native code.
 *
 * @module
 */

import {
  classNamed,
  type RebuiltClass,
  rebuiltClass,
} from "./rebuilt_classes.ts";
import {
  type AddedToken,
  addedTokens,
  type DeclaredToken,
  declaredToken,
  jsonList,
  namedTokens,
  type SpecialTokens,
  specialTokens,
  textFrame,
} from "./special_tokens.ts";
import {
  isJsonObject,
  type JsonObject,
  type TokenizerFiles,
} from "./tokenizer_files.ts";

/** A tokenizer ready to be built, and the tokens with a role. */
export interface TokenizerSpec {
  /** The content of a tokenizer.json. */
  readonly json: JsonObject;
  /** Tokens by role, such as `bos_token`. */
  readonly special: SpecialTokens;
  /** Name of the class that built the steps around the vocabulary, null for none. */
  readonly builtBy: string | null;
  /** Texts of all special tokens, left out of decoded text on demand. */
  readonly specialContents: ReadonlySet<string>;
}

/** Decides how a folder's tokenizer is built. */
export function tokenizerSpec(files: TokenizerFiles): TokenizerSpec {
  const isParts = files.partsDefaults !== undefined;
  const rebuilt = isParts ? classNamed(files.partsClass) : rebuiltClass(files);
  const defaults = files.partsDefaults ?? rebuilt?.defaults ?? {};
  const added = withIds(files, { rebuilt, defaults });
  const special = specialTokens(files, defaults);
  const base = isParts || rebuilt === null
    ? files.tokenizer
    : rebuiltJson(files, rebuilt, special);
  const frame = isParts ? files.config : rebuilt?.frame ?? null;
  const around = frame === null
    ? {}
    : { post_processor: askedFrame(frame, special, added) };
  return {
    // limits of an earlier use that were saved with the file do not apply
    json: {
      ...base,
      ...around,
      added_tokens: added,
      truncation: null,
      padding: null,
    },
    special,
    builtBy: rebuilt?.name ?? null,
    specialContents: new Set(
      added.filter((token) => token.special).map((token) => token.content),
    ),
  };
}

/** The tokens around a text where no tokenizer.json says which, null for none. */
function askedFrame(
  config: JsonObject,
  special: SpecialTokens,
  added: readonly AddedToken[],
): JsonObject | null {
  const asked = (flag: string, token: string | undefined): AddedToken[] =>
    config[flag] === true
      ? added.filter(({ content }) => content === token)
      : [];
  return textFrame(
    asked("add_bos_token", special.bos_token),
    asked("add_eos_token", special.eos_token),
  );
}

/** The class's own steps around the file's vocabulary and merges. */
function rebuiltJson(
  { tokenizer, config }: TokenizerFiles,
  rebuilt: RebuiltClass,
  special: SpecialTokens,
): JsonObject {
  return {
    ...tokenizer,
    ...rebuilt.parts(config),
    model: {
      ...rebuilt.model(special),
      vocab: vocabularyOf(tokenizer),
      merges: (tokenizer["model"] as JsonObject)["merges"],
    },
  };
}

/**
 * The added tokens of the tokenizer as the library would number them: settings
 * change tokens that are there and append the others.
 */
function withIds(
  files: TokenizerFiles,
  { rebuilt, defaults }: {
    readonly rebuilt: RebuiltClass | null;
    readonly defaults: SpecialTokens;
  },
): AddedToken[] {
  const vocabulary = vocabularyOf(files.tokenizer);
  const tokens = new Map<string, AddedToken>();
  let next = Object.keys(vocabulary).length;
  const add = (token: DeclaredToken, id?: number): void => {
    if (token.content === "") return;
    const known = tokens.get(token.content)?.id ?? id ??
      idOf(vocabulary, token.content) ?? next;
    next = Math.max(next, known + 1);
    tokens.set(token.content, { ...token, id: known });
  };
  for (
    const value of rebuilt !== null
      ? []
      : jsonList(files.tokenizer["added_tokens"])
  ) {
    const token = declaredToken(value, false);
    if (token) add(token, Number(value["id"]));
  }
  for (const token of addedTokens(files)) add(token);
  const named = namedTokens(files, defaults, rebuilt?.extra);
  for (const token of named) {
    if (!tokens.has(token.content)) add(token);
  }
  if (rebuilt?.plainSpecials) {
    for (const { content } of named) add(declaredToken(content, true)!);
  }
  return [...tokens.values()];
}

function idOf(vocabulary: JsonObject, content: string): number | undefined {
  const id = Object.hasOwn(vocabulary, content) ? vocabulary[content] : null;
  return typeof id === "number" ? id : undefined;
}

function vocabularyOf(tokenizer: JsonObject): JsonObject {
  const model = tokenizer["model"];
  const vocabulary = isJsonObject(model) ? model["vocab"] : undefined;
  if (Array.isArray(vocabulary)) {
    return Object.fromEntries(vocabulary.map(([token], id) => [token, id]));
  }
  return isJsonObject(vocabulary) ? vocabulary : {};
}
