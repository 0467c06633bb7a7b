/**
 * Prompt formats given as data: pieces of text around the content of each role.
 * The text for training and the Jinja template for asking are made from the same
 * pieces.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import type { ChatMessage } from "../tokenizer/chat_template.ts";
import { IGNORED_LABEL } from "./batch.ts";
import type {
  EncodedRow,
  FormatTokenizer,
  PromptFormat,
  PromptFormatEntry,
  PromptFormatOptions,
  TrainingRow,
} from "./prompt_format.ts";

/**
 * What is filled into a place of a turn: `content` is the message's text. A
 * user's turn may also spell the system message: then `instruction` is the system
 * message and `input` the user's; without a system message, `instruction` is the
 * user's message and `input` is empty.
 */
export type TurnPlace = "content" | "instruction" | "input";

/** Literal text, or a place that is filled in. */
export type Piece = string | {
  /** The place. */
  readonly place: TurnPlace;
  /** Text put in front of an `input`, where there is a system message before it. */
  readonly before?: string;
};

/** The pieces of a {@linkcode turnFormat}. */
export interface TurnFormatParts {
  /** The name by which the format is selected. */
  readonly name: string;
  /** The text before everything else. Default: none. */
  readonly start?: string;
  /** Tokens of its texts that the tokenizer must have. Default none. */
  readonly needsTokens?: readonly string[];
  /** A system message as a turn of its own, left out when it is empty. Default: none. */
  readonly system?: readonly Piece[];
  /** A user's turn. */
  readonly user: readonly Piece[];
  /** The text before an answer. */
  readonly assistant: string;
  /**
   * The text that ends an answer, and is trained with it. Default: the model's
   * EOS token.
   */
  readonly end?: string;
  /** The text between the end of an answer and the next turn. Default: none. */
  readonly between?: string;
  /**
   * Whether the tokenizer adds its special tokens to the prompt; "bos" adds only
   * the one that begins a text, where it adds one. Default false.
   */
  readonly addsSpecialTokens?: boolean | "bos";
  /**
   * Whether the last id before an answer is also trained, as in the recipe.
   * Default false.
   */
  readonly trainsLastPromptId?: boolean;
}

/**
 * A prompt format made of pieces of text, for `registerPromptFormat`. Each prompt
 * and each answer is encoded separately and cut to the limit; then they are
 * joined, and the whole is cut again.
 *
 * @example
 * ```ts
 * import { registerPromptFormat } from "@lorikeet/lorikeet";
 * import { turnFormat } from "@lorikeet/lorikeet/data";
 *
 * registerPromptFormat(turnFormat({
 *   name: "example",
 *   system: ["[", { place: "content" }, "]\n"],
 *   user: ["Q: ", { place: "content" }, "\n"],
 *   assistant: "A: ",
 *   between: "\n",
 * }));
 * ```
 */
export function turnFormat(parts: TurnFormatParts): PromptFormatEntry {
  return {
    name: parts.name,
    async create(options: PromptFormatOptions): Promise<PromptFormat> {
      const { tokenizer, eosTokenId, system } = options;
      await checkTokens(parts, tokenizer);
      const around = await specialTokensAround(parts, tokenizer);
      const end = parts.end === undefined
        ? [eosTokenId]
        : (await tokenizer.encodeBatch([parts.end], PLAIN))[0]!;
      return {
        name: parts.name,
        chatTemplate: chatTemplate(parts, { system, around }),
        encode: (rows, maxSeqLength) =>
          encode(rows, {
            parts,
            tokenizer,
            end,
            promptStart: parts.addsSpecialTokens === "bos" && around.bos
              ? [tokenizer.bosTokenId!]
              : [],
            promptEnd: around.eos ? [tokenizer.eosTokenId!] : [],
            maxSeqLength,
          }),
      };
    },
  };
}

/** The text of `messages` before an answer to the last one. */
export function promptText(
  parts: TurnFormatParts,
  messages: readonly ChatMessage[],
): string {
  const said = messages.map((message) => ({ ...message, trained: false }));
  const open = { role: "assistant", content: "", trained: true };
  const row = { messages: [...said, open] };
  return sectionsOf(parts, row).at(-1)!.prompt;
}

const PLAIN = { addSpecialTokens: false } as const;

/** A prompt with its answer; the answer is empty when a row ends without one. */
interface Section {
  readonly prompt: string;
  readonly answer: string;
  readonly trained: boolean;
  readonly ended: boolean;
}

/** Splits a conversation after each answer. */
function sectionsOf(
  parts: TurnFormatParts,
  { messages, place }: TrainingRow,
): Section[] {
  const sections: Section[] = [];
  let prompt = parts.start ?? "";
  let system: string | null = null;
  for (const { role, content, trained } of messages) {
    if (role === "system") {
      system = content;
      prompt += systemTurn(parts, content);
    } else if (role === "user") {
      prompt += filled(parts.user, { content, system });
    } else if (role === "assistant") {
      prompt += parts.assistant;
      sections.push({ prompt, answer: content, trained, ended: true });
      prompt = parts.between ?? "";
    } else {
      throw new InputError(
        `Cannot spell a message of role ${quoted(role)}${
          place === undefined ? "" : ` at ${place}`
        }: prompt format ${
          quoted(parts.name)
        } has the roles system, user and assistant`,
      );
    }
  }
  if (messages.at(-1)?.role !== "assistant") {
    sections.push({ prompt, answer: "", trained: false, ended: false });
  }
  return sections;
}

function systemTurn({ system = [] }: TurnFormatParts, content: string): string {
  return content === "" ? "" : filled(system, { content, system: content });
}

function filled(
  pieces: readonly Piece[],
  { content, system }: { content: string; system: string | null },
): string {
  const place = (place: TurnPlace, before: string): string => {
    if (place === "content") return content;
    if (place === "instruction") return system ?? content;
    return system === null ? "" : before + content;
  };
  return pieces.map((piece) =>
    typeof piece === "string" ? piece : place(piece.place, piece.before ?? "")
  ).join("");
}

/** What is needed to encode rows. */
interface Encoding {
  readonly parts: TurnFormatParts;
  readonly tokenizer: FormatTokenizer;
  /** The ids that end an answer. */
  readonly end: readonly number[];
  /** The ids added before the first prompt. */
  readonly promptStart: readonly number[];
  /** The ids that the tokenizer adds after a prompt. */
  readonly promptEnd: readonly number[];
  readonly maxSeqLength: number;
}

/** A section in ids. */
interface EncodedSection extends Section {
  readonly promptIds: readonly number[];
  readonly answerIds: readonly number[];
}

async function encode(
  conversations: readonly TrainingRow[],
  encoding: Encoding,
): Promise<EncodedRow[]> {
  const { parts, tokenizer, maxSeqLength: maxLength } = encoding;
  const rows = conversations.map((row) => sectionsOf(parts, row));
  const sections = rows.flat();
  const firsts = await tokenizer.encodeBatch(
    rows.map(([first]) => first?.prompt ?? ""),
    { maxLength, addSpecialTokens: parts.addsSpecialTokens === true },
  );
  const laters = await tokenizer.encodeBatch(
    rows.flatMap(([, ...later]) => later.map(({ prompt }) => prompt)),
    { maxLength, ...PLAIN },
  );
  const answers = await tokenizer.encodeBatch(
    sections.map(({ answer }) => answer),
    { maxLength, ...PLAIN },
  );
  let later = 0;
  let answer = 0;
  return rows.map((row, index) =>
    joined(
      row.map((section, at) => ({
        ...section,
        promptIds: at === 0
          ? [...encoding.promptStart, ...firsts[index]!]
          : [...laters[later++]!, ...encoding.promptEnd],
        answerIds: answers[answer++]!,
      })),
      encoding,
    )
  );
}

/** One row: all ids, the labels, and what the limit leaves. */
function joined(
  sections: readonly EncodedSection[],
  { parts, end, maxSeqLength }: Encoding,
): EncodedRow {
  const early = parts.trainsLastPromptId ? 1 : 0;
  const input_ids = ([] as number[]).concat(
    ...sections.flatMap(({ promptIds, answerIds, ended }) => [
      promptIds,
      answerIds,
      ended ? end : [],
    ]),
  );
  const labels = new Array<number>(input_ids.length).fill(IGNORED_LABEL);
  let answerTokens = 0;
  let uncutTokens = 0;
  let at = 0;
  for (const { promptIds, answerIds, trained, ended } of sections) {
    const start = at + promptIds.length;
    const stop = start + answerIds.length;
    at = stop + (ended ? end.length : 0);
    if (!trained) continue;
    const first = start - Math.min(early, promptIds.length);
    for (let index = first; index < at; index++) {
      labels[index] = input_ids[index]!;
    }
    answerTokens += Math.max(0, Math.min(maxSeqLength, stop) - start);
    uncutTokens += answerIds.length;
  }
  const { length } = input_ids;
  input_ids.length = Math.min(length, maxSeqLength);
  labels.length = input_ids.length;
  return {
    input_ids,
    labels,
    length,
    answerTokens,
    cut: length <= maxSeqLength
      ? "nothing"
      : answerTokens === uncutTokens
      ? "ending"
      : answerTokens > 0
      ? "end"
      : "answers",
  };
}

/** Whether the tokenizer adds BOS before and EOS after a prompt. */
interface Around {
  readonly bos: boolean;
  readonly eos: boolean;
}

async function specialTokensAround(
  parts: TurnFormatParts,
  tokenizer: FormatTokenizer,
): Promise<Around> {
  if (!parts.addsSpecialTokens) return { bos: false, eos: false };
  const [ids = []] = await tokenizer.encodeBatch([""], {});
  return {
    bos: ids.length > 0 && ids[0] === tokenizer.bosTokenId,
    eos: parts.addsSpecialTokens === true && ids.length > 0 &&
      ids.at(-1) === tokenizer.eosTokenId,
  };
}

/** A token that the tokenizer lacks would be trained as the letters it is spelled with. */
async function checkTokens(
  { name, needsTokens = [] }: TurnFormatParts,
  tokenizer: FormatTokenizer,
): Promise<void> {
  const encoded = await tokenizer.encodeBatch(needsTokens, PLAIN);
  const lacking = needsTokens.filter((_, at) => encoded[at]!.length !== 1);
  if (lacking.length === 0) return;
  throw new InputError(
    `Cannot use prompt format ${name}: the tokenizer has no token ${
      lacking.map((it) => quoted(it)).join(", ")
    }, --prompt_format recipe needs none`,
  );
}

/**
 * The Jinja template that gives the same text as {@linkcode promptText},
 * special tokens included.
 */
function chatTemplate(
  parts: TurnFormatParts,
  { system, around }: { system: string | null; around: Around },
): string {
  const assistant = `${jinjaText(parts.assistant)}${
    around.eos ? " + eos_token" : ""
  }`;
  const end = parts.end === undefined ? "eos_token" : jinjaText(parts.end);
  const between = parts.between === undefined
    ? ""
    : ` + ${jinjaText(parts.between)}`;
  const ownTurn = parts.system === undefined ? "" : `
    {%- if message['content'] -%}
      {{- ${jinjaPieces(parts.system)} -}}
    {%- endif -%}`;
  const firstTurn = systemTurn(parts, system ?? "");
  const first = firstTurn === "" ? "" : `
{%- if messages[0]['role'] != 'system' -%}
  {{- ${jinjaText(firstTurn)} -}}
{%- endif -%}`;
  return `{#- The prompt that this adapter was trained with. -#}
{%- set state = namespace(system=${
    system === null ? "none" : jinjaText(system)
  }) -%}${around.bos ? "\n{{- bos_token -}}" : ""}${
    parts.start === undefined ? "" : `\n{{- ${jinjaText(parts.start)} -}}`
  }${first}
{%- for message in messages -%}
  {%- if message['role'] == 'system' -%}
    {%- set state.system = message['content'] -%}${ownTurn}
  {%- elif message['role'] == 'user' -%}
    {{- ${jinjaPieces(parts.user)} -}}
  {%- elif message['role'] == 'assistant' -%}
    {{- ${assistant} + message['content'] + ${end}${between} -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- ${assistant} -}}
{%- endif -%}
`;
}

function jinjaPieces(pieces: readonly Piece[]): string {
  return pieces.map((piece) =>
    typeof piece === "string" ? jinjaText(piece) : jinjaPlace(piece)
  ).join(" + ");
}

function jinjaPlace({ place, before }: Exclude<Piece, string>): string {
  const content = "message['content']";
  if (place === "content") return content;
  if (place === "instruction") {
    return `(${content} if state.system is none else state.system)`;
  }
  const input = before === undefined
    ? content
    : `${jinjaText(before)} + ${content}`;
  return `('' if state.system is none else ${input})`;
}

/** A literal that Python's Jinja and the JavaScript one read the same way. */
function jinjaText(text: string): string {
  const escaped = text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')
    .replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t");
  return `"${escaped}"`;
}
