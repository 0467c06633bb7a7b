/**
 * The recipe's prompt format, byte for byte: an extra `<s>` after the tokenizer's
 * BOS, the answer encoded separately, labels that begin one id early.
 *
 * @module
 */

import { turnFormat, type TurnFormatParts } from "./turn_format.ts";

/** The recipe's spelling of a turn. */
export const RECIPE_TURNS: TurnFormatParts = {
  name: "recipe",
  user: [
    "<s>Human: ",
    { place: "instruction" },
    "请回答用户问题: ",
    { place: "input" },
    "\n</s>",
  ],
  assistant: "<s>Assistant:",
  addsSpecialTokens: true,
  trainsLastPromptId: true,
};

/** The recipe's format, for `registerPromptFormat`. */
export const RECIPE = turnFormat(RECIPE_TURNS);
