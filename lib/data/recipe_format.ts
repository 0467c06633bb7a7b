/**
 * The recipe's prompt format, byte for byte: its own `<s>` after the tokenizer's
 * BOS, the answer encoded by itself, labels that begin one id early.
 *
 * @module
 */

import { turnFormat, type TurnFormatParts } from "./turn_format.ts";

/** How the recipe spells a turn. */
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

/** The recipe's format, as `registerPromptFormat` takes it. */
export const RECIPE = turnFormat(RECIPE_TURNS);
