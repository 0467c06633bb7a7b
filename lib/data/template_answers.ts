/**
 * Where in the text of a chat template the assistant's turns stand: the template's
 * own `{% generation %}` blocks, or else what each turn adds when a row is rendered
 * turn by turn.
 *
 * @module
 */

import { InputError } from "../input_error.ts";
import {
  type ChatMessage,
  type ChatTemplateOptions,
  marksAnswers,
  renderChatTemplate,
  renderWithAnswers,
  type TextSpan,
} from "../tokenizer/chat_template.ts";
import type { Message, TrainingRow } from "./prompt_format.ts";

/** A row as text, and the places in it that are trained. */
export interface RenderedRow {
  /** All of the row. */
  readonly text: string;
  /** The trained turns, in their order, each with all that ends it. */
  readonly answers: readonly TextSpan[];
}

/** A row that a template cannot split, and why. */
export interface UnsplitRow {
  /** What is wrong, as an error says it. */
  readonly problem: string;
}

/** How rows are rendered. */
export interface TemplateUse {
  /** The Jinja template. */
  readonly template: string;
  /** What it may use. */
  readonly options: ChatTemplateOptions;
}

/**
 * Renders a row and finds its trained turns.
 *
 * @throws {InputError} when the template refuses the row.
 */
export function renderRow(
  row: TrainingRow,
  use: TemplateUse,
): RenderedRow | UnsplitRow {
  const messages = row.messages.map(asGiven);
  const trained = row.messages.flatMap((message, at) =>
    message.trained ? [at] : []
  );
  const variables = { ...use.options.variables, tools: row.tools ?? null };
  const options = { ...use.options, variables };
  return marksAnswers(use.template)
    ? byMarks(row, { messages, trained, template: use.template, options })
    : byTurns({ messages, trained, template: use.template, options });
}

/**
 * `row`, or where the template spells earlier answers otherwise once more is said
 * (as templates do that leave out earlier thoughts): the conversation up to each
 * trained answer, with that answer trained, as the model sees it when it is asked.
 */
export function dividedRow(row: TrainingRow, use: TemplateUse): TrainingRow[] {
  const trained = row.messages.flatMap((message, at) =>
    message.trained ? [at] : []
  );
  if (trained.length < 2 || !breaks(row, use)) return [row];
  return trained.map((last) => ({
    ...row,
    messages: row.messages.slice(0, last + 1).map((message, at) => ({
      ...message,
      trained: at === last,
    })),
  }));
}

/** Whether a row is spelled by the template, but cannot be split. */
function breaks(row: TrainingRow, use: TemplateUse): boolean {
  try {
    return !marksAnswers(use.template) && "problem" in renderRow(row, use);
  } catch (error) {
    if (error instanceof InputError) return false;
    throw error;
  }
}

interface Rendering {
  readonly messages: readonly ChatMessage[];
  /** Indices of the messages that are trained. */
  readonly trained: readonly number[];
  readonly template: string;
  readonly options: ChatTemplateOptions;
}

/** The template's own marks; all of them, or the last ones where not all turns are trained. */
function byMarks(
  { messages: all }: TrainingRow,
  { messages, trained, template, options }: Rendering,
): RenderedRow | UnsplitRow {
  const { text, answers } = renderWithAnswers(template, messages, options);
  const spoken = all.flatMap(({ role }, at) =>
    role === "assistant" ? [at] : []
  );
  if (spoken.length === trained.length && answers.length > 0) {
    return { text, answers };
  }
  if (answers.length !== spoken.length) {
    return {
      problem: `the chat template marks ${answers.length} turns with ` +
        `{% generation %}, the row has ${spoken.length} of the assistant`,
    };
  }
  return {
    text,
    answers: answers.filter((_, at) => trained.includes(spoken[at]!)),
  };
}

/**
 * A turn is what it adds to the text up to it, where the assistant is asked to
 * speak. That text must be a beginning of the whole, and the text after the turn
 * one too.
 */
function byTurns(
  { messages, trained, template, options }: Rendering,
): RenderedRow | UnsplitRow {
  const render = (count: number, addGenerationPrompt = false): string =>
    renderChatTemplate(template, messages.slice(0, count), {
      ...options,
      addGenerationPrompt,
    });
  const text = render(messages.length);
  const answers: TextSpan[] = [];
  for (const at of trained) {
    const asked = render(at, true);
    const isLast = at === messages.length - 1;
    const said = isLast ? text : render(at + 1);
    const turn = `turn ${at + 1} (assistant)`;
    if (!said.startsWith(asked) || said.length === asked.length) {
      return {
        problem: said === asked
          ? `${turn} adds nothing to the text of the chat template`
          : `${turn} does not begin where the chat template asks for it, ` +
            MARKS_NEEDED,
      };
    }
    const end = endInRow(text, said, options);
    if (end === null) {
      return {
        problem: `${turn} is spelled otherwise by the chat template once ` +
          `another turn follows, --train_on last or ${MARKS_NEEDED}`,
      };
    }
    answers.push({ start: asked.length, end });
  }
  return { text, answers };
}

/**
 * Where a turn ends in the text of its row: where the text that ends with the turn
 * does, or before the EOS token of that text, which some templates put at the end
 * of a row and not of a turn.
 */
function endInRow(
  text: string,
  said: string,
  { variables = {} }: ChatTemplateOptions,
): number | null {
  if (text.startsWith(said)) return said.length;
  const eos = variables["eos_token"];
  if (typeof eos !== "string" || eos === "" || !said.endsWith(eos)) return null;
  const end = said.length - eos.length;
  return text.endsWith(eos) && text.startsWith(said.slice(0, end)) ? end : null;
}

const MARKS_NEEDED =
  "a template with {% generation %} or another --prompt_format is needed";

/** A message as the row has it. */
function asGiven(
  { trained: _, contentIs, ...message }: Message,
): ChatMessage {
  if (contentIs === undefined) return message;
  const { content: __, ...others } = message;
  // templates tell these from a text
  const given = contentIs === "null" ? { ...others, content: null } : others;
  return given as unknown as ChatMessage;
}
