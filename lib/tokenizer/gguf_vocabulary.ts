/**
 * What a GGUF file says about its tokenizer: tokens, their kinds and roles, checked.
 * llama.cpp writes all of it as `tokenizer.ggml.*`, whatever the kind.
 *
 * @module
 */

import { readGguf } from "../formats/gguf.ts";
import type { GgufValue } from "../formats/gguf_values.ts";
import { InputError, quoted } from "../input_error.ts";
import type { JsonObject } from "./tokenizer_files.ts";

/** llama.cpp's numbers of the kinds of tokens. */
export const TOKEN_KINDS = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

/** The tokenizer's part of a GGUF file's metadata. */
export class GgufVocabulary {
  readonly #path: string;
  readonly #metadata: ReadonlyMap<string, GgufValue>;
  /** The tokens by id. */
  readonly tokens: readonly string[];

  /**
   * Reads the file at `path`.
   *
   * @throws {InputError} when it is damaged or has no tokens.
   */
  constructor(path: string) {
    this.#path = path;
    this.#metadata = readGguf(path).metadata;
    if (this.value("model") === undefined) {
      this.fail("it has no tokenizer.ggml.model");
    }
    this.tokens = this.texts("tokens");
  }

  /** Refuses the file. */
  fail(reason: string): never {
    throw new InputError(
      `Cannot load tokenizer from ${quoted(this.#path)}: ${reason}`,
    );
  }

  /** The name that the model was given, in lower case. */
  get modelName(): string {
    return String(this.#metadata.get("general.name") ?? "").toLowerCase();
  }

  /** The value of `tokenizer.ggml.NAME`. */
  value(name: string): GgufValue | undefined {
    return this.#metadata.get(`tokenizer.ggml.${name}`);
  }

  /** A value that is yes or no. */
  flag(name: string, fallback: boolean): boolean {
    const value = this.value(name) ?? fallback;
    if (typeof value === "boolean") return value;
    this.fail(
      `its tokenizer.ggml.${name} is ${
        quoted(value, 60)
      }, true or false is needed`,
    );
  }

  /** A value that is a list of texts. */
  texts(name: string): readonly string[] {
    const value = this.value(name);
    const isTexts = Array.isArray(value) &&
      value.every((each) => typeof each === "string");
    if (isTexts) return value;
    this.fail(`its tokenizer.ggml.${name} is not a list of texts`);
  }

  /** The id of a role, or `null`. */
  id(role: string): number | null {
    const name = `${role}_token_id`;
    const id = this.value(name);
    if (id === undefined) return null;
    if (typeof id === "number" && this.tokens[id] !== undefined) return id;
    this.fail(
      `its tokenizer.ggml.${name} is ${
        quoted(id, 60)
      }, one of its ${this.tokens.length} tokens is needed`,
    );
  }

  /** The token of a role, or `null`. */
  token(role: string): string | null {
    const id = this.id(role);
    return id === null ? null : this.tokens[id]!;
  }

  /** The kinds of the tokens by id, `null` where the file does not say. */
  kinds(): Int32Array | Uint32Array | null {
    const kinds = this.value("token_type");
    if (kinds === undefined) return null;
    if (!(kinds instanceof Int32Array || kinds instanceof Uint32Array)) {
      this.fail(
        "its tokenizer.ggml.token_type is not a list of whole numbers",
      );
    }
    if (kinds.length === this.tokens.length) return kinds;
    this.fail(
      `its tokenizer.ggml.token_type has ${kinds.length} kinds for ${this.tokens.length} tokens`,
    );
  }

  /** The special tokens as tokenizer_config.json names them. */
  roles(): JsonObject {
    const roles = {
      bos_token: this.token("bos"),
      eos_token: this.token("eos"),
      unk_token: this.token("unknown"),
      pad_token: this.token("padding"),
    };
    return Object.fromEntries(
      Object.entries(roles).filter(([, token]) => token !== null),
    );
  }

  /** The Jinja template, or `null`. */
  chatTemplate(): string | null {
    const template = this.#metadata.get("tokenizer.chat_template") ?? null;
    if (template === null || typeof template === "string") return template;
    this.fail(
      `its tokenizer.chat_template is ${
        quoted(template, 60)
      }, a text is needed`,
    );
  }
}
