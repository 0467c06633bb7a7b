/**
 * What transformers makes of rows in chat templates (made by make_chat_rows.py),
 * and a tokenizer whose template a test chooses.
 *
 * @module
 */

import type { FormatTokenizer, Message } from "../../lib/data/prompt_format.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";

/** The golden file. */
export interface Golden {
  readonly templates: Readonly<
    Record<string, { readonly marked: string; readonly plain: string }>
  >;
  readonly rows: readonly {
    readonly tokenizer: string;
    readonly template: string;
    readonly row: {
      readonly messages: readonly Message[];
      readonly tools?: unknown[];
    };
    readonly text: string;
    readonly ids: readonly number[];
    readonly mask: readonly number[];
  }[];
  readonly questions: readonly {
    readonly template: string;
    readonly system: string | null;
    readonly messages: readonly Message[];
    readonly text: string;
  }[];
}

/** The golden values. */
export const GOLDEN: Golden = JSON.parse(
  Deno.readTextFileSync("tests/fixtures/chat_rows.json"),
);

/** A tokenizer of the fixtures with another chat template. */
export async function withTemplate(
  chatTemplate: string | null,
  name = "chat_byte_level",
): Promise<FormatTokenizer & { readonly own: AutoTokenizer }> {
  const own = await AutoTokenizer.fromPretrained(`tests/fixtures/data/${name}`);
  return {
    own,
    chatTemplate,
    bosTokenId: own.bosTokenId,
    eosTokenId: own.eosTokenId,
    specialTokens: own.specialTokens,
    encodeBatch: (texts, options) => own.encodeBatch(texts, options),
    encodeWithOffsets: (texts) => own.encodeWithOffsets(texts),
  };
}

/** Two questions and their answers. */
export const TURNS = [
  { role: "user", content: "a", trained: false },
  { role: "assistant", content: "bb", trained: true },
  { role: "user", content: "c", trained: false },
  { role: "assistant", content: "dd", trained: true },
];
