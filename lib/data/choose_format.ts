/**
 * Which prompt format rows are trained in where the user leaves the choice, and
 * the reason for it.
 *
 * @module
 */

import { TEXT_FORMAT } from "./named_formats.ts";

/** The prompt format that an adapter was trained in. */
export interface StoredFormat {
  /** Its name; "chat" takes `chatTemplate` where there is one. */
  readonly name: string;
  /** A template in place of the model's own. */
  readonly chatTemplate?: string;
  /** The adapter's folder, for messages. */
  readonly folder: string;
}

/** What the choice is made by. */
export interface FormatGrounds {
  /** Names of the shapes of the rows. */
  readonly shapes: ReadonlySet<string>;
  /** The model's own chat template. */
  readonly chatTemplate: string | null;
  /** The format of the adapter that is trained on, if there is one. */
  readonly stored?: StoredFormat | null;
}

/** A prompt format, and why it is taken. */
export interface FormatChoice {
  /** Its registered name. */
  readonly name: string;
  /** The reason, as it stands in brackets. */
  readonly why: string;
}

/**
 * The format called `asked`. For "auto", the one that the adapter was trained in;
 * for a new adapter, the recipe's for instruction rows where the model has no chat
 * template or one that frames turns as the recipe does, and the model's own
 * template otherwise. Texts have no turns and are trained as they are.
 */
export function chooseFormat(
  asked: string,
  { shapes, chatTemplate, stored = null }: FormatGrounds,
): FormatChoice {
  const areOnly = (...names: string[]): boolean =>
    [...shapes].every((shape) => names.includes(shape));
  if (areOnly("text")) {
    return { name: TEXT_FORMAT, why: "texts have no turns" };
  }
  if (asked !== "auto") return { name: asked, why: "as asked for" };
  const isOfTexts = stored?.name === TEXT_FORMAT;
  if (stored !== null && (!isOfTexts || areOnly("prompt_completion"))) {
    return { name: stored.name, why: `stored with ${stored.folder}` };
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

/** Whether a chat template frames turns as the recipe does. */
export function hasRecipeFrame(template: string): boolean {
  return template.includes("Human:") && template.includes("Assistant:");
}
