/**
 * Chat templates: turns messages into the prompt text that a chat model was
 * trained on. Renders text only, without tokenizing. A template is parsed once.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { BoundedTemplate } from "./bounded_template.ts";

const MOST_PARSED = 8;
const parsed = new Map<string, BoundedTemplate>();

/** One turn of a conversation. */
export interface ChatMessage {
  /**
   * Whose message it is: "system", "user", "assistant" or another role that the
   * template knows.
   */
  readonly role: string;
  /** The text of the message. */
  readonly content: string;
}

/** Options of {@linkcode renderChatTemplate}. */
export interface ChatTemplateOptions {
  /** Ends the text where the assistant's answer begins. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** The file of the template, for messages. */
  readonly file?: string;
  /** Additional variables for the template. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/**
 * Renders `messages` with a Jinja `template`.
 *
 * @throws {InputError} when the template is invalid, or refuses the messages.
 */
export function renderChatTemplate(
  template: string,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions = {},
): string {
  try {
    return parsedTemplate(template).render({
      tools: null,
      documents: null,
      ...options.variables,
      messages,
      add_generation_prompt: options.addGenerationPrompt ?? false,
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(
      `Cannot apply the chat template${
        options.file === undefined ? "" : ` of ${quoted(options.file)}`
      } to ${messages.length} messages: ${reason}`,
      { cause: error },
    );
  }
}

/** Characters `start` to `end` of a text, `end` not included. */
export interface TextSpan {
  /** The first character. */
  readonly start: number;
  /** The one after the last. */
  readonly end: number;
}

const GENERATION = /\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}/g;
/** Characters that Unicode keeps free for marks inside a program. */
const MARKS = { begin: "\ufdd0", end: "\ufdd1" } as const;

/** Whether `template` marks what the assistant says, with `{% generation %}`. */
export function marksAnswers(template: string): boolean {
  return template.search(GENERATION) >= 0;
}

/**
 * Renders `messages` with a template that {@linkcode marksAnswers}, and tells where
 * in the text the assistant speaks.
 *
 * @throws {InputError} when the template is broken or refuses the messages.
 */
export function renderWithAnswers(
  template: string,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions = {},
): { readonly text: string; readonly answers: readonly TextSpan[] } {
  // a block stays a block, so that blanks around it go or stay as before
  const marked = template.replaceAll(
    GENERATION,
    (_, left: string, end: string | undefined, right: string) =>
      `{%${left} if true %}${
        end === undefined ? MARKS.begin : MARKS.end
      }{% endif ${right}%}`,
  );
  const pieces = renderChatTemplate(marked, messages, options)
    .split(/([\ufdd0\ufdd1])/);
  const answers: TextSpan[] = [];
  let text = "";
  let start: number | null = null;
  for (const piece of pieces) {
    if (piece === MARKS.begin) start = text.length;
    else if (piece !== MARKS.end) text += piece;
    else if (start !== null) {
      answers.push({ start, end: text.length });
      start = null;
    }
  }
  return { text, answers };
}

function parsedTemplate(text: string): BoundedTemplate {
  const known = parsed.get(text);
  if (known !== undefined) return known;
  if (parsed.size >= MOST_PARSED) parsed.clear();
  const made = new BoundedTemplate(text);
  parsed.set(text, made);
  return made;
}
