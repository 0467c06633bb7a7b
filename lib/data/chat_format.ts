/**
 * The prompt format `chat`: rows in the model's own chat template, each rendered as
 * a whole and encoded once, so that ids are those of transformers'
 * `apply_chat_template`. The template says what is an answer.
 *
 * @module
 */

import { InputError } from "../input_error.ts";
import {
  type ChatTemplateOptions,
  renderChatTemplate,
  type TextSpan,
} from "../tokenizer/chat_template.ts";
import type { OffsetEncoding } from "../tokenizer/encoding.ts";
import { IGNORED_LABEL } from "./batch.ts";
import type {
  EncodedRow,
  FormatTokenizer,
  PromptFormat,
  PromptFormatEntry,
  TrainingRow,
} from "./prompt_format.ts";
import {
  dividedRow,
  type RenderedRow,
  renderRow,
  type TemplateUse,
} from "./template_answers.ts";

const MOST_SHOWN = 20;

/** The model's own template, as `registerPromptFormat` takes it. */
export const CHAT: PromptFormatEntry = {
  name: "chat",
  create({ tokenizer, system, chatTemplate }): Promise<PromptFormat> {
    const own = chatTemplate ?? tokenizer.chatTemplate ?? null;
    if (own === null) {
      return Promise.reject(
        new InputError(
          "Cannot use prompt format chat: the model has no chat template, " +
            "another --prompt_format or chat_template.jinja in its folder is needed",
        ),
      );
    }
    const options = { variables: tokenizer.specialTokens ?? {} };
    const template = takesSystem(own, options) ? own : MERGES_SYSTEM + own;
    return Promise.resolve({
      name: "chat",
      chatTemplate: system === null || system === ""
        ? template
        : putsFirst(system) + template,
      divided: (row) => dividedRow(row, { template, options }),
      encode: (rows, maxSeqLength) =>
        encode(rows, { tokenizer, maxSeqLength, use: { template, options } }),
    });
  },
};

/** Some templates refuse system messages, others leave them out. */
function takesSystem(template: string, options: ChatTemplateOptions): boolean {
  const messages = [
    { role: "system", content: "system-words" },
    { role: "user", content: "user-words" },
  ];
  try {
    return renderChatTemplate(template, messages, options)
      .includes("system-words");
  } catch (error) {
    if (error instanceof InputError) return false;
    throw error;
  }
}

/** Puts a system message in front of the first question, for a template without one. */
const MERGES_SYSTEM =
  `{%- if messages and messages[0]['role'] == 'system' and messages|length > 1 -%}
{%- set messages = [{'role': messages[1]['role'], 'content': messages[0]['content'] + '\\n\\n' + messages[1]['content']}] + messages[2:] -%}
{%- endif -%}
`;

/** The system message of the rows, for questions that come without one. */
function putsFirst(system: string): string {
  return `{%- if not messages or messages[0]['role'] != 'system' -%}
{%- set messages = [{'role': 'system', 'content': ${
    JSON.stringify(system)
  }}] + messages -%}
{%- endif -%}
`;
}

interface Encoding {
  readonly tokenizer: FormatTokenizer;
  readonly maxSeqLength: number;
  readonly use: TemplateUse;
}

async function encode(
  rows: readonly TrainingRow[],
  { tokenizer, maxSeqLength, use }: Encoding,
): Promise<EncodedRow[]> {
  const rendered: RenderedRow[] = [];
  const problems: string[] = [];
  for (const row of rows) {
    const result = rendering(row, use);
    if ("problem" in result) {
      problems.push(`${row.place ?? "a row"}: ${result.problem}`);
    } else rendered.push(result);
  }
  if (problems.length > 0) throw new InputError(sentence(problems));
  const encodings = await tokenizer.encodeWithOffsets!(
    rendered.map(({ text }) => text),
  );
  return await Promise.all(rendered.map(async ({ text, answers }, at) => {
    const contents = rows[at]!.messages.filter(({ trained }) => trained)
      .map(({ content }) => content.trim());
    const spans = answers.map((answer, index) => ({
      ...answer,
      contentEnd: endOfContent(text, answer, contents[index] ?? ""),
    }));
    const encoding = encodings[at]!;
    const range = encoding.offsets === null
      ? await rangesByPrefix(text, { spans, tokenizer, ids: encoding.ids })
      : rangesByOffset(text, encoding.offsets);
    return labelled(encoding.ids, { spans, range, maxSeqLength });
  }));
}

function rendering(
  row: TrainingRow,
  use: TemplateUse,
): ReturnType<typeof renderRow> {
  try {
    return renderRow(row, use);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return { problem: error.message.replace(/^Cannot/, "cannot") };
  }
}

function sentence(problems: readonly string[]): string {
  const shown = problems.slice(0, MOST_SHOWN);
  const rest = problems.length - shown.length;
  return [
    `Cannot spell ${
      problems.length === 1 ? "1 row" : `${problems.length} rows`
    } with the chat template: each trained turn must be found in its text`,
    ...shown,
    ...rest > 0 ? [`and ${rest} more`] : [],
  ].join("\n");
}

/** A trained turn in a text. */
interface Answer extends TextSpan {
  /** The place after what the message says; then comes what ends the turn. */
  readonly contentEnd: number;
}

/** The first and the last token of a span of the text; none where last < first. */
type TokenRange = (span: TextSpan) => readonly [number, number];

/** Labels where a token has a character of an answer. */
function labelled(
  ids: readonly number[],
  { spans, range, maxSeqLength }: {
    readonly spans: readonly Answer[];
    readonly range: TokenRange;
    readonly maxSeqLength: number;
  },
): EncodedRow {
  const labels = new Array<number>(ids.length).fill(IGNORED_LABEL);
  let [answerTokens, uncutTokens] = [0, 0];
  for (const { start, end, contentEnd } of spans) {
    const [first, last] = range({ start, end });
    for (let at = first; at <= last; at++) labels[at] = ids[at]!;
    const [, lastOfText] = range({ start, end: contentEnd });
    const length = Math.max(0, lastOfText + 1 - first);
    uncutTokens += length;
    answerTokens += Math.max(0, Math.min(length, maxSeqLength - first));
  }
  const { length } = ids;
  return {
    input_ids: ids.slice(0, maxSeqLength),
    labels: labels.slice(0, maxSeqLength),
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

/** What the message says ends here; after it comes what the template ends a turn with. */
function endOfContent(
  text: string,
  { start, end }: TextSpan,
  content: string,
): number {
  if (content === "") return start;
  const found = text.slice(start, end).lastIndexOf(content);
  return found < 0 ? end : start + found + content.length;
}

/** The tokens that have a character of a span. */
function rangesByOffset(
  text: string,
  offsets: NonNullable<OffsetEncoding["offsets"]>,
): TokenRange {
  const place = codePointCounter(text);
  return (span) => {
    const [start, end] = [place(span.start), place(span.end)];
    const has = ([from, to]: readonly [number, number]): boolean =>
      from < end && to > start && to > from;
    const first = offsets.findIndex(has);
    return first < 0 ? [0, -1] : [first, offsets.findLastIndex(has)];
  };
}

/**
 * For a tokenizer that does not tell places: the tokens up to a place are those
 * that the text up to there begins with too.
 */
async function rangesByPrefix(
  text: string,
  { spans, tokenizer, ids }: {
    readonly spans: readonly Answer[];
    readonly tokenizer: FormatTokenizer;
    readonly ids: readonly number[];
  },
): Promise<TokenRange> {
  const places = [
    ...new Set(
      spans.flatMap(({ start, end, contentEnd }) => [start, end, contentEnd]),
    ),
  ];
  const prefixes = await tokenizer.encodeBatch(
    places.map((place) => text.slice(0, place)),
    { addSpecialTokens: false },
  );
  const counts = new Map(places.map((place, at) => {
    const prefix = prefixes[at]!;
    const differing = prefix.findIndex((id, index) => id !== ids[index]);
    return [place, differing < 0 ? prefix.length : differing];
  }));
  return ({ start, end }) => [counts.get(start)!, counts.get(end)! - 1];
}

/** From JavaScript's places in `text` to those in code points. */
function codePointCounter(text: string): (place: number) => number {
  if (!/[\ud800-\udfff]/.test(text)) return (place) => place;
  return (place) => [...text.slice(0, place)].length;
}
