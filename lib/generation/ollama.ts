/**
 * Ollama's Modelfile for a model that is exported: the chat template in Ollama's own
 * language, found out by rendering the model's, and the texts that end an answer.
 *
 * @module
 */

import { renderChatTemplate } from "../tokenizer/chat_template.ts";
import type { AutoTokenizer, ChatMessage } from "../tokenizer/mod.ts";
import { InputError } from "../input_error.ts";
import { chatPrompt } from "./chat_prompt.ts";

/** What the Modelfile is about. */
export interface ModelfileOptions {
  /** Name of the GGUF file beside it. */
  readonly file: string;
  /** The model's tokenizer, `null` for none. */
  readonly tokenizer: AutoTokenizer | null;
  /** The adapter's chat template, `null` for the model's own. */
  readonly chatTemplate: string | null;
}

/**
 * The text of a Modelfile. Where the chat template cannot be said in Ollama's language,
 * the file has none and `warning` says so.
 */
export async function ollamaModelfile(
  { file, tokenizer, chatTemplate }: ModelfileOptions,
): Promise<{ readonly text: string; readonly warning: string | null }> {
  const from = `FROM ./${file}\n`;
  const template = chatTemplate ?? tokenizer?.chatTemplate ?? null;
  if (tokenizer === null || template === null) {
    return { text: from, warning: null };
  }
  const { endIds } = await chatPrompt(tokenizer, { template });
  const stops = [
    ...endIds,
    ...endIds.length === 0 ? [tokenizer.eosTokenId] : [],
  ]
    .flatMap((id) => id === null ? [] : tokenizer.tokensOf([id]))
    .map((token) => `PARAMETER stop ${JSON.stringify(token)}\n`);
  const found = ollamaTemplate(template, tokenizer.specialTokens);
  const text = from + (found === null ? "" : `TEMPLATE """${found}"""\n`) +
    stops.join("");
  return {
    text,
    warning: found === null
      ? "The chat template cannot be written in Ollama's language: the Modelfile has none, Ollama looks for one of its own"
      : null,
  };
}

type Render = (
  messages: readonly ChatMessage[],
  addGenerationPrompt: boolean,
) => string;

const MARKS = { system: "\u0001s", user: "\u0001u", assistant: "\u0001a" };

/**
 * `template` in Ollama's language, or `null` where it is not the same for every turn.
 * The token that begins a text is left out, Ollama puts it there.
 */
export function ollamaTemplate(
  template: string,
  special: Readonly<Record<string, string>>,
): string | null {
  const bos = special["bos_token"] ?? "";
  const render: Render = (messages, addGenerationPrompt) => {
    const text = renderChatTemplate(template, messages, {
      addGenerationPrompt,
      variables: special,
    });
    return bos !== "" && text.startsWith(bos) ? text.slice(bos.length) : text;
  };
  try {
    return turnsOf(render);
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}

function turnsOf(render: Render): string | null {
  const message = (role: keyof typeof MARKS): ChatMessage => ({
    role,
    content: MARKS[role],
  });
  const [system, user, assistant] = [
    message("system"),
    message("user"),
    message("assistant"),
  ];
  const alone = render([user], true);
  const [before, after] = alone.split(MARKS.user);
  const answered = render([user, assistant], false);
  const end = answered.split(MARKS.assistant)[1];
  if (before === undefined || after === undefined || end === undefined) {
    return null;
  }
  const withSystem = tryRender(() => render([system, user], true));
  const [start, rest] = withSystem?.split(MARKS.system) ?? [];
  const middle = rest?.endsWith(MARKS.user + after)
    ? rest.slice(0, -(MARKS.user + after).length)
    : null;
  if (withSystem !== null && (start === undefined || middle === null)) {
    return null;
  }
  const turns = { before, after, end, start, middle };
  const conversations = [[user], [user, assistant, user]]
    .flatMap((each) =>
      withSystem === null ? [each] : [each, [system, ...each]]
    );
  const isSame = conversations.every((messages) =>
    said(messages, turns) === render(messages, true)
  );
  const parts = [before, after, end, start ?? "", middle ?? ""];
  const isPlain = !parts.some((part) => /\{\{|\}\}|"""/.test(part));
  if (!isSame || !isPlain) return null;
  const head = withSystem === null
    ? before
    : `{{ if .System }}${start}{{ .System }}${middle}{{ else }}${before}{{ end }}`;
  return `${head}{{ .Prompt }}${after}{{ .Response }}${end}`;
}

/** What Ollama makes of a conversation: the template once a turn. */
function said(
  messages: readonly ChatMessage[],
  turns: {
    readonly before: string;
    readonly after: string;
    readonly end: string;
    readonly start: string | undefined;
    readonly middle: string | null;
  },
): string {
  let text = "";
  let system: string | null = null;
  for (const { role, content } of messages) {
    if (role === "system") system = String(content);
    else if (role === "assistant") text += content + turns.end;
    else {
      const head = system === null
        ? turns.before
        : turns.start + system + turns.middle;
      text += head + content + turns.after;
      system = null;
    }
  }
  return text;
}

function tryRender(render: () => string): string | null {
  try {
    const text = render();
    return text.includes(MARKS.system) ? text : null;
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  }
}
