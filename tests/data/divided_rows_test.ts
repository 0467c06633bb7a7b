/**
 * Conversations of several answers in a template that spells earlier answers
 * otherwise once more is said, as Qwen3's does.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { loadDataset, modelFilesKey } from "../../lib/data/mod.ts";
import type { TrainOn } from "../../lib/data/encoded_files.ts";
import { TURNS, withTemplate } from "./chat_rows.ts";

const QWEN3 = Deno.readTextFileSync(
  "tests/fixtures/chat_templates/qwen3.jinja",
);
const spoken = (count: number): object => ({
  messages: TURNS.slice(0, count).map(({ role, content }) => ({
    role,
    content,
  })),
});

interface Loaded {
  readonly description: string;
  /** Each sequence as text, trained parts in brackets. */
  readonly texts: readonly string[];
  readonly rowsRead: number;
}

async function load(
  folder: string,
  options: {
    readonly trainOn?: TrainOn;
    readonly weights?: readonly number[];
  } = {},
): Promise<Loaded> {
  const path = `${folder}/rows.jsonl`;
  const rows = [spoken(2), spoken(4), spoken(4)];
  Deno.writeTextFileSync(path, rows.map((it) => JSON.stringify(it)).join("\n"));
  const tokenizer = await withTemplate(QWEN3);
  const { features, description, preflight } = await loadDataset(path, {
    tokenizer,
    config: { eos_token_id: tokenizer.eosTokenId! },
    maxSeqLength: 500,
    cache: {
      folder: `${folder}/kept`,
      tokenizerKey: modelFilesKey("tests/fixtures/data/chat_byte_level"),
      leastRows: 1,
    },
    ...options,
  });
  const texts = features.map(({ input_ids, labels }) => {
    const first = labels.findIndex((label) => label >= 0);
    const last = labels.findLastIndex((label) => label >= 0);
    assert.deepEqual(
      labels.slice(first, last + 1),
      input_ids.slice(first, last + 1),
    );
    const text = (start: number, end?: number): string =>
      tokenizer.own.decode(input_ids.slice(start, end));
    return `${text(0, first)}[${text(first, last + 1)}]${text(last + 1)}`;
  });
  return {
    description: description.replace(path, "F"),
    texts,
    rowsRead: preflight.rowsRead,
  };
}

const asked = (content: string): string =>
  `<|im_start|>user\n${content}<|im_end|>\n<|im_start|>assistant\n`;
const said = (content: string): string =>
  `[<think>\n\n</think>\n\n${content}<|im_end|>\n]`;
const ONE = `${asked("a")}${said("bb")}`;
const TWO = `${asked("a")}bb<|im_end|>\n${asked("c")}${said("dd")}`;

function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  return use(folder).finally(() =>
    Deno.removeSync(folder, { recursive: true })
  );
}

Deno.test("loadDataset() trains each answer as the template spells it when it is asked for, and says so", () =>
  inFolder(async (folder) => {
    const { texts, description, rowsRead } = await load(folder);
    assert.deepEqual(texts, [ONE, ONE, TWO, ONE, TWO]);
    assert.equal(rowsRead, 5);
    assert.match(
      description,
      /^F: 3 messages rows as 5 sequences, one for each answer that the chat template spells otherwise later, prompt format chat \(/,
    );
    const kept = await load(folder);
    assert.equal(
      kept.description,
      `${description}; tokenised in an earlier run`,
    );
    assert.deepEqual(kept.texts, texts);
  }));

Deno.test("loadDataset() makes one sequence a row where only the last answer or everything is trained", () =>
  inFolder(async (folder) => {
    const last = await load(folder, { trainOn: "last" });
    assert.deepEqual(last.texts, [ONE, TWO, TWO]);
    assert.match(last.description, /^F: messages rows, prompt/);
    const all = await load(folder, { trainOn: "everything" });
    assert.deepEqual(
      all.texts,
      [ONE, TWO, TWO].map((text) => `[${text.replaceAll(/[[\]]/g, "")}]`),
    );
  }));

Deno.test("loadDataset() weights sequences", () =>
  inFolder(async (folder) => {
    const { texts, description } = await load(folder, { weights: [2] });
    assert.equal(texts.length, 10);
    assert.match(description, /^F: 10 of 5 messages rows as 5 sequences/);
  }));
