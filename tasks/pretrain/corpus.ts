/**
 * The training data of `tiny-atom`: our own questions with plain answers, under several
 * instructions and in several wordings, and the sentences of the rows for fine-tuning,
 * without their questions. The model answers plainly under every instruction, so a
 * change of voice is the adapter's effect.
 *
 * @module
 */

import {
  type Feature,
  type Message,
  promptFormat,
  promptText,
  readExamples,
  RECIPE_TURNS,
} from "../../lib/data/mod.ts";
import type { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";

/** A question with its instruction and answer. */
export interface Row {
  /** May be empty. */
  readonly instruction: string;
  /** The question. */
  readonly input: string;
  /** The answer. */
  readonly output: string;
}

/** The two files of rows. */
export interface Corpus {
  /** Plain answers. */
  readonly plain: readonly Row[];
  /** The rows for fine-tuning: used as sentences, never as answers. */
  readonly voice: readonly Row[];
}

/** The rows of a file, each of which has an input. */
export function readRows(path: string): Row[] {
  return readExamples(path).map(({ messages }) => {
    const [instruction, input, output] = messages.map((each) => each.content);
    return { instruction: instruction!, input: input!, output: output! };
  });
}

const OTHER_INSTRUCTIONS = [
  "请简短回答。",
  "请用一句话回答。",
  "请像朋友一样聊天。",
  "你是一个友好的助手。",
  "你是一位老师，请耐心回答。",
  "请扮演一只会说话的小鸟。",
  "现在你要扮演一位宫中的女子。",
  "以下是用户提出的一个问题。",
] as const;

const CONTINUE = "请接着把这句话说完。";
const SENTENCE_REPEATS = 5;

/** The texts that the tokenizer is learned from; each instruction counts once. */
export function tokenizerTexts({ plain, voice }: Corpus): string[] {
  return [
    ...new Set(voice.map(({ instruction }) => instruction)),
    ...OTHER_INSTRUCTIONS,
    CONTINUE,
    ...voice.flatMap(({ input, output }) => [input, output]),
    ...plain.flatMap((row) => [
      promptText(RECIPE_TURNS, messagesOf(row).slice(0, 2)).replaceAll(
        /<\/?s>/g,
        "",
      ),
      row.output,
    ]),
  ];
}

/** All rows of one pass, encoded. */
export async function corpusFeatures(
  corpus: Corpus,
  tokenizer: AutoTokenizer,
): Promise<Feature[]> {
  const rows = [...questionRows(corpus), ...beginnings(corpus)];
  const format = await promptFormat("recipe", {
    tokenizer,
    eosTokenId: tokenizer.eosTokenId!,
    system: "",
  });
  const answered = await format.encode(
    rows.map((row) => ({ messages: messagesOf(row) })),
    256,
  );
  return [...answered, ...await sentences(corpus, tokenizer)];
}

function messagesOf({ instruction, input, output }: Row): Message[] {
  return [
    { role: "system", content: instruction, trained: false },
    { role: "user", content: input, trained: false },
    { role: "assistant", content: output, trained: true },
  ];
}

/** Each plain row under each instruction, in its own and in other wordings. */
function questionRows({ plain, voice }: Corpus): Row[] {
  const tuned = [...new Set(voice.map(({ instruction }) => instruction))];
  const instructions = ["", ...tuned, ...OTHER_INSTRUCTIONS];
  return plain.flatMap(({ input, output }, row) => {
    const asAsked = ["", ...tuned].map((instruction) => ({
      instruction,
      input,
      output,
    }));
    const reworded = wordings(input, row).map((wording, index) => ({
      instruction: instructions[(row + index) % instructions.length]!,
      input: wording,
      output,
    }));
    return [...asAsked, ...reworded];
  });
}

/** Small changes that keep the meaning: punctuation, a polite word, a lost character. */
function wordings(question: string, row: number): string[] {
  const bare = question.replace(/[？。！]$/, "");
  const characters = [...bare];
  const without = (index: number): string =>
    characters.toSpliced(index % characters.length, 1).join("");
  const marked = `${bare}？`;
  return [
    bare,
    `${bare}?`,
    `请问${marked}`,
    `你好，${marked}`,
    `${bare}呀？`,
    `${without(row)}？`,
    without(row + 2),
  ].filter((wording) => [...wording].length > 2 && wording !== question);
}

/** The beginnings of sentences for fine-tuning, cut at a comma, to be completed. */
function beginnings({ voice }: Corpus): Row[] {
  return voice.flatMap(({ output }) => {
    const comma = output.indexOf("，") + 1;
    return comma === 0 ? [] : [{
      instruction: CONTINUE,
      input: output.slice(0, comma),
      output: output.slice(comma),
    }];
  });
}

/** The sentences for fine-tuning as plain text, in which every token is trained. */
async function sentences(
  { voice }: Corpus,
  tokenizer: AutoTokenizer,
): Promise<Feature[]> {
  const encoded = await tokenizer.encodeBatch(
    voice.map(({ output }) => output),
  );
  const features = encoded.map((ids) => {
    const input_ids = [...ids, tokenizer.eosTokenId!];
    return { input_ids, labels: input_ids };
  });
  return Array.from({ length: SENTENCE_REPEATS }, () => features).flat();
}
