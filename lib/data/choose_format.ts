/**
 * Which prompt format rows are trained in where the user leaves the choice, and
 * the reason for it.
 *
 * @module
 */

import { TEXT_FORMAT } from "./named_formats.ts";

/** What the choice is made by. */
export interface FormatGrounds {
  /** Names of the shapes of the rows. */
  readonly shapes: ReadonlySet<string>;
  /** The model's own chat template. */
  readonly chatTemplate: string | null;
}

/** A prompt format, and why it is taken. */
export interface FormatChoice {
  /** Its registered name. */
  readonly name: string;
  /** The reason, as it stands in brackets. */
  readonly why: string;
}

/**
 * The format called `asked`. For "auto", the recipe's for instruction rows where
 * the model has no chat template or one that frames turns as the recipe does, the
 * model's own template otherwise; where nothing is asked, the recipe's for
 * instruction rows in any case. Texts have no turns and are trained as they are.
 */
export function chooseFormat(
  asked: string | null,
  { shapes, chatTemplate }: FormatGrounds,
): FormatChoice {
  const areOnly = (...names: string[]): boolean =>
    [...shapes].every((shape) => names.includes(shape));
  if (areOnly("text")) {
    return { name: TEXT_FORMAT, why: "texts have no turns" };
  }
  if (asked === null && areOnly("instruction")) {
    const hint = chatTemplate === null || hasRecipeFrame(chatTemplate)
      ? ""
      : "; --prompt_format chat takes the model's own";
    return { name: "recipe", why: `the default for instruction rows${hint}` };
  }
  if (asked !== null && asked !== "auto") {
    return { name: asked, why: "as asked for" };
  }
  if (chatTemplate === null) {
    return areOnly("text", "prompt_completion")
      ? {
        name: TEXT_FORMAT,
        why:
          "the model has no chat template, prompts are trained as they stand",
      }
      : { name: "recipe", why: "the model has no chat template" };
  }
  return areOnly("instruction") && hasRecipeFrame(chatTemplate)
    ? {
      name: "recipe",
      why:
        "the model's chat template has the recipe's Human and Assistant turns",
    }
    : { name: "chat", why: "the model has a chat template" };
}

function hasRecipeFrame(template: string): boolean {
  return template.includes("Human:") && template.includes("Assistant:");
}
