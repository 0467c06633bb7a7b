/**
 * Tokenizers of model folders: the same ids as AutoTokenizer of transformers 5
 * gives for a folder with tokenizer.json, SentencePiece's own ids for one with a
 * lone tokenizer.model. It never runs code of a model's folder.
 *
 * @module
 */

import { ggufFileAt } from "../formats/gguf.ts";
import { InputError, quoted } from "../input_error.ts";
import {
  type ChatMessage,
  type ChatTemplateOptions,
  renderChatTemplate,
} from "./chat_template.ts";
import type {
  DecodeOptions,
  EncodeOptions,
  OffsetEncoding,
} from "./encoding.ts";
import { ggufTokenizerFiles } from "./gguf_tokenizer.ts";
import {
  type NativeEncoding,
  type NativeTokenizer,
  openNativeTokenizer,
  truncatedIds,
  withoutSpecialTokens,
} from "./native_tokenizer.ts";
import { saveTokenizer } from "./saved_files.ts";
import { PrefixCutter } from "./shared_prefix.ts";
import type { SpecialRole } from "./special_tokens.ts";
import type { ConvertedFiles } from "./sentencepiece_json.ts";
import {
  chatTemplateOf,
  type JsonObject,
  readTokenizerFiles,
  type TokenizerFiles,
} from "./tokenizer_files.ts";
import {
  type CheckedTokenizerJson,
  readTokenizerJson,
} from "./tokenizer_json.ts";
import {
  cleanedUp,
  cleansUpSpaces,
  refuseProblems,
  settingsProblems,
  splitsSpecialTokens,
} from "./tokenizer_settings.ts";
import { type TokenizerSpec, tokenizerSpec } from "./tokenizer_spec.ts";
import { vocabularyTokenizer } from "./vocabulary_folder.ts";

const CHUNK = 256;

/**
 * A tokenizer loaded from a model folder.
 *
 * @example
 * ```ts
 * import { AutoTokenizer } from "@lorikeet/lorikeet";
 * import { strict as assert } from "node:assert";
 *
 * const tokenizer = await AutoTokenizer.fromPretrained(
 *   "tests/fixtures/data/legacy",
 * );
 * const ids = await tokenizer.encode("你好");
 * assert.equal(ids[0], tokenizer.bosTokenId);
 * assert.equal(tokenizer.decode(ids, { skipSpecialTokens: true }), "你好");
 * ```
 */
export class AutoTokenizer {
  readonly #native: NativeTokenizer;
  readonly #decoder: ReturnType<NativeTokenizer["getDecoder"]>;
  readonly #spec: TokenizerSpec;
  readonly #limits: CheckedTokenizerJson;
  readonly #files: TokenizerFiles;
  readonly #encoder: Pick<NativeTokenizer, "encodeBatch">;
  readonly #cutter: PrefixCutter | null;
  readonly #cleansUp: boolean;
  readonly #templateFile: string;
  readonly #truncatesLeft: boolean;
  readonly #converted: () => ConvertedFiles | null;
  /** The Jinja template of the folder, null when it has none. */
  readonly chatTemplate: string | null;

  /** Not for callers: use {@linkcode AutoTokenizer.fromPretrained}. */
  constructor(parts: unknown) {
    if (!(parts instanceof Parts)) {
      throw new TypeError(
        "Cannot construct AutoTokenizer: it is loaded from a folder, AutoTokenizer.fromPretrained does that",
      );
    }
    const { native, encoder, spec, files, limits } = parts.all;
    this.#converted = parts.all.converted ?? (() => null);
    this.#native = native;
    this.#encoder = encoder;
    this.#cutter = files.vocabulary === null
      ? PrefixCutter.of(spec.json)
      : null;
    this.#cleansUp = cleansUpSpaces(files);
    this.#files = files;
    this.#decoder = native.getDecoder();
    this.#spec = spec;
    this.#limits = limits;
    this.#truncatesLeft = files.config["truncation_side"] === "left";
    this.chatTemplate = chatTemplateOf(files);
    this.#templateFile = `${files.directory}/${
      files.chatTemplate === null
        ? "tokenizer_config.json"
        : "chat_template.jinja"
    }`;
  }

  /**
   * Loads the tokenizer of a model folder, or of a GGUF file.
   *
   * @throws {InputError} when the folder has no usable tokenizer.
   *
   * @example
   * ```ts
   * import { AutoTokenizer } from "@lorikeet/lorikeet";
   *
   * const tokenizer = await AutoTokenizer.fromPretrained("models/tiny-atom");
   * const ids = await tokenizer.encode("你好");
   * if (tokenizer.decode(ids, { skipSpecialTokens: true }) !== "你好") {
   *   throw new Error("unexpected text");
   * }
   * ```
   */
  static async fromPretrained(directory: string): Promise<AutoTokenizer> {
    const gguf = ggufFileAt(directory);
    const files = gguf === null
      ? readTokenizerFiles(directory)
      : ggufTokenizerFiles(gguf);
    if (files.vocabulary !== null) {
      refuseProblems(directory, settingsProblems(files));
      const parts = vocabularyTokenizer(files, files.vocabulary);
      return new AutoTokenizer(new Parts({ ...parts, files }));
    }
    const problems: string[] = [];
    const limits = readTokenizerJson(files.tokenizer, problems);
    refuseProblems(
      directory,
      new Map([
        [files.partsDefaults ? "vocab.json" : "tokenizer.json", problems],
        ...settingsProblems(files),
      ]),
    );
    const spec = tokenizerSpec({ ...files, tokenizer: limits.json });
    const native = await open(directory, spec.json);
    const encoder = splitsSpecialTokens(files)
      ? await withoutSpecialTokens(
        spec.json,
        native,
        (json) => open(directory, json),
      )
      : native;
    return new AutoTokenizer(
      new Parts({ native, encoder, spec, files, limits }),
    );
  }

  /** Id of the token that begins a text, null when the folder names none. */
  get bosTokenId(): number | null {
    return this.#idOf("bos_token");
  }

  /** Id of the token that ends a text, null when the folder names none. */
  get eosTokenId(): number | null {
    return this.#idOf("eos_token");
  }

  /** Id of the token for what is unknown, null when the folder names none. */
  get unkTokenId(): number | null {
    return this.#idOf("unk_token");
  }

  /** Id of the token that fills up rows, null when the folder names none. */
  get padTokenId(): number | null {
    return this.#idOf("pad_token");
  }

  /** The special tokens of the folder by the names that chat templates use. */
  get specialTokens(): Readonly<Record<string, string>> {
    return this.#spec.special;
  }

  /** Number of ids, added tokens included: `len(tokenizer)` in Python. */
  get vocabSize(): number {
    return this.#native.getVocabSize(true);
  }

  /** Ids of one text. */
  async encode(text: string, options: EncodeOptions = {}): Promise<number[]> {
    const [ids] = await this.encodeBatch([text], options);
    return ids ?? [];
  }

  /** Ids of many texts, in their order; uses all cores. */
  async encodeBatch(
    texts: readonly string[],
    options: EncodeOptions = {},
  ): Promise<number[][]> {
    const { maxLength = Infinity, addSpecialTokens = true } = options;
    const encode = (some: readonly string[]): Promise<number[][]> =>
      this.#encodeAll(
        some,
        addSpecialTokens,
        (encoding) =>
          truncatedIds(encoding, { maxLength, left: this.#truncatesLeft }),
      );
    const beginnings = this.#truncatesLeft
      ? texts
      : texts.map((text) => this.#cutter?.beginning(text, maxLength) ?? text);
    const ids = await encode(beginnings);
    // a beginning with too few ids does not tell those of the text
    const few = [...texts.keys()].filter((at) =>
      beginnings[at]!.length < texts[at]!.length && ids[at]!.length < maxLength
    );
    const whole = await encode(few.map((at) => texts[at]!));
    whole.forEach((each, index) => ids[few[index]!] = each);
    return ids;
  }

  /** Ids of many texts and where in its text each stands; no special tokens are added. */
  async encodeWithOffsets(
    texts: readonly string[],
  ): Promise<OffsetEncoding[]> {
    return await this.#encodeAll(texts, false, (encoding) => ({
      ids: encoding.getIds(),
      offsets: (encoding.getOffsets?.() ?? null) as [number, number][] | null,
    }));
  }

  /**
   * What `read` takes of the encodings. The library's own are large, so only those
   * of two chunks are there at a time; one is encoded while the other is read.
   */
  async #encodeAll<T>(
    texts: readonly string[],
    addSpecialTokens: boolean,
    read: (encoding: NativeEncoding) => T,
  ): Promise<T[]> {
    for (const text of texts) {
      this.#refuseLonger(text.length, this.#limits.longestText);
    }
    const chunk = (start: number): Promise<NativeEncoding[]> =>
      this.#guarded(() =>
        this.#encodeChunk(texts.slice(start, start + CHUNK), addSpecialTokens)
      );
    const found: T[] = [];
    if (texts.length === 0) return found;
    let next = chunk(0);
    for (let start = CHUNK; start - CHUNK < texts.length; start += CHUNK) {
      const encodings = await next;
      if (start < texts.length) next = chunk(start);
      for (const encoding of encodings) found.push(read(encoding));
    }
    return found;
  }

  #encodeChunk(
    texts: readonly string[],
    addSpecialTokens: boolean,
  ): Promise<NativeEncoding[]> {
    const encoder = this.#encoder;
    return this.#cutter === null
      ? encoder.encodeBatch(texts, { addSpecialTokens })
      : this.#cutter.encodeBatch(texts, { encoder, addSpecialTokens });
  }

  /** Text of `ids`; ids without a token give nothing. */
  decode(ids: readonly number[], options: DecodeOptions = {}): string {
    const text = this.decodeTokens(this.tokensOf(ids, options));
    return this.#cleansUp ? cleanedUp(text) : text;
  }

  /** Token strings of `ids`, as the vocabulary spells them. */
  tokensOf(ids: readonly number[], options: DecodeOptions = {}): string[] {
    const skip = options.skipSpecialTokens ?? false;
    return ids.map((id) => this.#native.idToToken(id)).filter((token) =>
      token !== null && !(skip && this.#spec.specialContents.has(token))
    ) as string[];
  }

  /** Text of token strings. */
  decodeTokens(tokens: readonly string[]): string {
    const decoder = this.#decoder;
    if (decoder === null) return tokens.join(" ");
    const length = tokens.reduce((sum, token) => sum + token.length, 0);
    this.#refuseLonger(length, this.#limits.longestDecoded);
    try {
      return decoder.decode(tokens);
    } catch (error) {
      throw this.#unusable(error);
    }
  }

  /**
   * The prompt text of a conversation; encode it with `addSpecialTokens: false`.
   *
   * @throws {InputError} when the folder has no chat template.
   */
  applyChatTemplate(
    messages: readonly ChatMessage[],
    options: ChatTemplateOptions = {},
  ): string {
    if (this.chatTemplate === null) {
      throw new InputError(
        `Cannot apply the chat template of ${
          quoted(this.#files.directory)
        }: it has none, chat_template.jinja or "chat_template" in tokenizer_config.json is needed`,
      );
    }
    return renderChatTemplate(this.chatTemplate, messages, {
      file: this.#templateFile,
      ...options,
      variables: { ...this.#spec.special, ...options.variables },
    });
  }

  /**
   * Copies the tokenizer's files to `directory`, where others load them to the
   * same ids: byte for byte, but for a class that is right beside the model's
   * config.json only. A GGUF file's are written as such files. Beside a lone
   * tokenizer.model stands the tokenizer.json that gives its ids, where there is one.
   */
  savePretrained(directory: string): void {
    const saved = { files: this.#files, spec: this.#spec };
    saveTokenizer({ ...saved, converted: this.#converted }, directory);
  }

  /** A pattern of tokenizer.json could end the process on a longer text. */
  #refuseLonger(length: number, longest: number): void {
    if (length <= longest) return;
    throw new InputError(
      `Cannot tokenize a text of ${length} characters: the patterns in tokenizer.json of ${
        quoted(this.#files.directory)
      } take too many steps above ${longest}, split the text`,
    );
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw this.#unusable(error);
    }
  }

  #unusable(error: unknown): InputError {
    const reason = error instanceof Error ? error.message : String(error);
    return new InputError(
      `Cannot tokenize with ${quoted(this.#files.directory)}: ${reason}`,
      { cause: error },
    );
  }

  #idOf(role: SpecialRole): number | null {
    const token = this.#spec.special[role];
    return token === undefined ? null : this.#native.tokenToId(token);
  }
}

/** What a loaded tokenizer is made of; only this file can make one. */
class Parts {
  constructor(
    readonly all: {
      readonly native: NativeTokenizer;
      readonly encoder: Pick<NativeTokenizer, "encodeBatch">;
      readonly spec: TokenizerSpec;
      readonly files: TokenizerFiles;
      readonly limits: CheckedTokenizerJson;
      readonly converted?: () => ConvertedFiles | null;
    },
  ) {}
}

async function open(
  directory: string,
  json: JsonObject,
): Promise<NativeTokenizer> {
  try {
    return await openNativeTokenizer(JSON.stringify(json));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new InputError(
      `Cannot load tokenizer from ${
        quoted(directory)
      }: tokenizer.json is not understood, ${error.message}`,
      { cause: error },
    );
  }
}
