/**
 * Rows as `deno task inspect` shows them: their text with trained and masked tokens
 * told apart, how many begin and end as a model expects, and how long they are.
 *
 * @module
 */

import { IGNORED_LABEL } from "../lib/data/mod.ts";
import { printable } from "../lib/input_error.ts";
import type { AutoTokenizer, Feature } from "../mod.ts";
import { shortened, wrapped } from "./terminal_text.ts";

const GREEN = "\u001b[32m";
const DIM = "\u001b[2m";
const PLAIN = "\u001b[0m";

/** How trained tokens are told from masked ones. */
export interface RowLook {
  /** In colours, as a terminal shows them; otherwise in double brackets. */
  readonly colour: boolean;
  /** Width of the terminal, at which lines are broken; `null`: one line. */
  readonly columns: number | null;
}

/** Spaces before the text of a row. */
export const ROW_INDENT = 4;

/**
 * The text of a row, line feeds as `\n`: trained tokens green and masked ones dim, or
 * trained ones in double brackets. The middle of a very long part is left out.
 */
export function renderRow(
  feature: Feature,
  tokenizer: Pick<AutoTokenizer, "decode">,
  { colour, columns }: RowLook,
): string {
  const parts = spansOf(feature).map(({ start, end, trained }) => {
    const whole = textOf(feature.input_ids, { tokenizer, start, end });
    const text = printable(
      shortened(whole).replaceAll("\n", "\\n").replaceAll("\t", "\\t"),
    );
    if (colour) return { text, before: trained ? GREEN : DIM, after: PLAIN };
    return { text: trained ? `[[${text}]]` : text };
  });
  return wrapped(parts, { columns, indent: ROW_INDENT });
}

interface Span {
  readonly start: number;
  readonly end: number;
  readonly trained: boolean;
}

/** Neighbouring tokens that are all trained or all masked. */
function spansOf({ labels }: Feature): Span[] {
  const spans: Span[] = [];
  for (let start = 0; start < labels.length;) {
    const trained = isTrained(labels, start);
    let end = start + 1;
    while (end < labels.length && isTrained(labels, end) === trained) end++;
    spans.push({ start, end, trained });
    start = end;
  }
  return spans;
}

/** The first token of a row is predicted from nothing, so it is never trained. */
function isTrained(labels: readonly number[], at: number): boolean {
  return at > 0 && labels[at] !== IGNORED_LABEL;
}

/** The text of ids `start` to `end`, with the space that a decoder drops in front. */
function textOf(
  ids: readonly number[],
  { tokenizer, start, end }: Omit<Span, "trained"> & {
    readonly tokenizer: Pick<AutoTokenizer, "decode">;
  },
): string {
  const before = tokenizer.decode(ids.slice(0, start));
  const whole = tokenizer.decode(ids.slice(0, end));
  return whole.startsWith(before)
    ? whole.slice(before.length)
    : tokenizer.decode(ids.slice(start, end));
}

/** Ids that begin and end a text. */
export interface EdgeIds {
  /** Begins a text, or `null`. */
  readonly bos: number | null;
  /** Each of them ends an answer. */
  readonly eos: readonly number[];
}

/** Numbers of rows by how they begin and end. */
export interface EdgeCounts {
  /** Rows whose first two ids are both BOS. */
  readonly bosDoubled: number;
  /** Rows that begin with another id; 0 where there is no BOS. */
  readonly bosMissing: number;
  /** Rows whose last answer ends with EOS twice. */
  readonly eosDoubled: number;
  /** Rows whose last answer does not end with EOS, one token after it allowed. */
  readonly eosMissing: number;
}

/** Counts the rows that begin or end otherwise than once. */
export function countEdges(
  features: readonly Feature[],
  { bos, eos }: EdgeIds,
): EdgeCounts {
  const counts = { bosDoubled: 0, bosMissing: 0, eosDoubled: 0, eosMissing: 0 };
  for (const { input_ids, labels } of features) {
    const answer = lastAnswer({ input_ids, labels });
    // a template may write a line feed after EOS
    const last = [answer.length - 1, answer.length - 2]
      .find((at) => eos.includes(answer[at] ?? NaN));
    if (bos !== null && input_ids[0] !== bos) counts.bosMissing++;
    if (bos !== null && input_ids[0] === bos && input_ids[1] === bos) {
      counts.bosDoubled++;
    }
    if (last === undefined) counts.eosMissing++;
    else if (eos.includes(answer[last - 1] ?? NaN)) counts.eosDoubled++;
  }
  return counts;
}

/** The ids of the last trained part of a row. */
function lastAnswer(feature: Feature): readonly number[] {
  const span = spansOf(feature).findLast(({ trained }) => trained);
  return span === undefined
    ? []
    : feature.input_ids.slice(span.start, span.end);
}

/** One line about how rows begin, one about how they end. */
export function describeEdges(
  counts: EdgeCounts,
  { rows, bos, eos }: { rows: number; bos: string | null; eos: string },
): string[] {
  const begin = bos === null
    ? "BOS: the tokenizer has none"
    : edgeLine("BOS", bos, [
      [counts.bosDoubled, "begin with it twice"],
      [counts.bosMissing, "begin without it"],
    ], rows);
  const end = edgeLine("EOS", eos, [
    [counts.eosDoubled, "end with it twice"],
    [
      counts.eosMissing,
      "end without it, the model is not taught to stop there",
    ],
  ], rows);
  return [begin, end];
}

function edgeLine(
  name: string,
  token: string,
  found: readonly (readonly [number, string])[],
  rows: number,
): string {
  const said = found.filter(([count]) => count > 0)
    .map(([count, what]) =>
      `${counted(count)} of ${counted(rows)} rows ${what}`
    );
  return `${name} ${token}: ${
    said.length === 0 ? "once in every row" : said.join("; ")
  }`;
}

/** Rows of some lengths. */
export interface LengthBin {
  /** Shortest length that counts. */
  readonly from: number;
  /** Longest length that counts. */
  readonly to: number;
  /** Number of rows. */
  readonly rows: number;
}

const BINS = 10;

/** How many rows have which length, in at most ten bins of one width, the first not empty. */
export function lengthBins(lengths: readonly number[]): LengthBin[] {
  const longest = lengths.reduce((most, each) => Math.max(most, each), 0);
  const width = roundWidth(longest / BINS);
  const counts = new Array<number>(Math.ceil(longest / width)).fill(0);
  for (const length of lengths) {
    const bin = Math.max(Math.ceil(length / width) - 1, 0);
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  const bins = counts.map((rows, at) => ({
    from: at * width + 1,
    to: (at + 1) * width,
    rows,
  }));
  return bins.slice(bins.findIndex(({ rows }) => rows > 0));
}

/** The next of 1, 2, 4, 5 and 8 times a power of ten. */
function roundWidth(least: number): number {
  for (let power = 1;; power *= 10) {
    for (const digit of [1, 2, 4, 5, 8]) {
      if (digit * power >= least) return digit * power;
    }
  }
}

const WIDEST = 40;

/** The bins as lines with bars. */
export function describeLengths(bins: readonly LengthBin[]): string[] {
  const most = bins.reduce((highest, { rows }) => Math.max(highest, rows), 1);
  const width = counted(bins.at(-1)?.to ?? 0).length;
  const numbers = counted(most).length;
  return bins.map(({ from, to, rows }) => {
    const bar = "▇".repeat(Math.ceil(rows / most * WIDEST));
    return `${counted(from).padStart(width)}-${counted(to).padEnd(width)} ${
      counted(rows).padStart(numbers)
    } ${bar}`.trimEnd();
  });
}

/** A count with commas. */
export function counted(value: number): string {
  return value.toLocaleString("en-US");
}
