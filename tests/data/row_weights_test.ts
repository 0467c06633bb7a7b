/**
 * Several files of rows: how often the rows of each come, shapes and formats side
 * by side, and problems in any of them.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { type DatasetOptions, loadDataset } from "../../lib/data/mod.ts";
import { weightedRows } from "../../lib/data/row_weights.ts";
import { GOLDEN, withTemplate } from "./chat_rows.ts";

const NUMBERS = Array.from({ length: 10 }, (_, at) => at);

Deno.test("weightedRows() repeats all rows by the whole number, and draws a part by the fraction", () => {
  const take = (weight: number, seed = 0): number[] =>
    weightedRows(NUMBERS, { weight, seed, path: "a" });
  assert.deepEqual(take(1), NUMBERS);
  assert.deepEqual(take(2), [...NUMBERS, ...NUMBERS]);
  const half = take(0.5);
  assert.equal(half.length, 5);
  assert.equal(new Set(half).size, 5);
  assert.deepEqual(half, half.toSorted((a, b) => a - b));
  assert.deepEqual(take(2.5), [...NUMBERS, ...NUMBERS, ...half]);
  // 2.3 - 2 is a little less than 0.3, and 0.26 of 10 rows is nearest to 3
  assert.deepEqual([2.3, 0.26, 1.04].map((it) => take(it).length), [23, 3, 10]);
  // the same on every machine and in every version
  assert.deepEqual(take(0.3), [4, 7, 9]);
  assert.notDeepEqual(take(0.5, 1), half);
});

Deno.test("weightedRows() refuses a weight that leaves no row", () => {
  for (const weight of [0, -1, NaN, Infinity, 0.01]) {
    assert.throws(() => weightedRows(NUMBERS, { weight, seed: 0, path: "a" }), {
      name: "InputError",
      message:
        `Cannot take ${weight} of the rows of "a": of its 10 rows none would be left, a weight of at least 0.1 is needed`,
    });
  }
});

const CHAT = [1, 2].map((at) => ({
  messages: [{ role: "user", content: `q${at}` }, {
    role: "assistant",
    content: `a${at}`,
  }],
}));
const TEXTS = [1, 2, 3, 4].map((at) => ({ text: `some text ${at}` }));

/** The texts of the rows of several files, or what is wrong with them. */
async function load(
  files: readonly (readonly unknown[])[],
  options: Partial<DatasetOptions> = {},
): Promise<{ texts: string[]; description: string; question: string }> {
  const folder = Deno.makeTempDirSync();
  try {
    const paths = files.map((rows, at) => {
      const path = `${folder}/${at}.jsonl`;
      const lines = rows.map((row) =>
        typeof row === "string" ? row : JSON.stringify(row)
      );
      Deno.writeTextFileSync(path, lines.join("\n"));
      return path;
    });
    const tokenizer = await withTemplate(GOLDEN.templates.chatml!.marked);
    const dataset = await loadDataset(paths, {
      tokenizer,
      config: { eos_token_id: tokenizer.eosTokenId! },
      maxSeqLength: 100,
      ...options,
    });
    return {
      texts: dataset.features.map(({ input_ids }) =>
        tokenizer.own.decode(input_ids)
      ),
      description: dataset.description.replaceAll(`${folder}/`, ""),
      question: dataset.question,
    };
  } catch (error) {
    throw new Error((error as Error).message.replaceAll(`${folder}/`, ""));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("loadDataset() reads several files, each by its own shape, and trains texts as they stand beside turns", async () => {
  const both = await load([TEXTS, CHAT], { weights: [0.5, 2] });
  const alone = await load([CHAT]);
  const texts = await load([TEXTS]);
  assert.equal(both.texts.length, 6);
  for (const text of both.texts.slice(0, 2)) {
    assert(texts.texts.includes(text), text);
  }
  assert.deepEqual(both.texts.slice(2), [...alone.texts, ...alone.texts]);
  assert.equal(both.question, "q1");
  assert.equal(
    both.description,
    "0.jsonl: 2 of 4 text rows, 1.jsonl: 4 of 2 messages rows, prompt format chat (the model has a chat template), texts as they stand",
  );
  assert.equal(
    (await load([CHAT, CHAT])).description,
    "0.jsonl: 2 messages rows, 1.jsonl: 2 messages rows, prompt format chat (the model has a chat template)",
  );
});

Deno.test("loadDataset() draws the same rows for a seed, and others for another", async () => {
  const many = Array.from({ length: 40 }, (_, at) => ({ text: `text ${at}` }));
  const of = async (seed: number): Promise<string[]> =>
    (await load([many], { weights: [0.5], seed })).texts;
  assert.deepEqual(await of(3), await of(3));
  assert.notDeepEqual(await of(3), await of(4));
});

Deno.test("loadDataset() tells what is wrong in all files, by file and line", async () => {
  await assert.rejects(load([[CHAT[0], "{"], [{ text: 1 }]]), {
    message: [
      'Cannot read "0.jsonl": 1 problem, every row needs "messages", a list of objects with "role" and "content"',
      "0.jsonl:2:2: the line is not JSON, expected property name or '}'",
      'Cannot read "1.jsonl": 1 problem, every row needs the text "text"',
      '1.jsonl:1: "text" is the number 1, it must be a text',
    ].join("\n"),
  });
  await assert.rejects(load([CHAT, TEXTS], { weights: [1] }), {
    message:
      "Cannot weight 2 files of rows with 1 numbers: one for each file is needed",
  });
  await assert.rejects(load([]), {
    message: "Cannot read rows: no file is named, the path of one is needed",
  });
});

Deno.test("loadDataset() names the files of rows in a folder that is given as a file", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    for (const name of ["b.jsonl", "a.csv.gz", "c.txt"]) {
      Deno.writeTextFileSync(`${folder}/${name}`, "");
    }
    const tokenizer = await withTemplate(null);
    await assert.rejects(
      loadDataset(folder, {
        tokenizer,
        config: { eos_token_id: 1 },
        maxSeqLength: 9,
      }),
      /: it is a folder, the path of a \.jsonl file is needed, it has "a\.csv\.gz", "b\.jsonl"$/,
    );
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
