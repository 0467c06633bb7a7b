/**
 * The recipe's format against the recipe's own preprocess, read_jsonl and
 * data_collator, run by Python on the same rows: tests/fixtures/make_data.py made
 * the numbers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { trainedTokens } from "../../lib/data/batch.ts";
import type { Feature } from "../../lib/data/batch.ts";
import { dataCollator } from "../../lib/data/collator.ts";
import { loadDataset } from "../../lib/data/load_dataset.ts";
import { selectRows } from "../../lib/data/preflight.ts";
import { promptFormat } from "../../lib/data/prompt_format.ts";
import { readExamples } from "../../lib/data/read_examples.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";

interface Run {
  readonly length: number;
  readonly skip: boolean;
  readonly features: { input_ids: number[]; seq_len: number }[];
  readonly batches: { input_ids: number[][]; labels: number[][] }[];
}

const DATA = "tests/fixtures/data";
const ROWS = `${DATA}/rows.jsonl`;

function runsOf(name: string): Run[] {
  const text = Deno.readTextFileSync(`${DATA}/golden.json`);
  return JSON.parse(text).tokenizers[name].runs;
}

/** The features of a run with the labels that the recipe's collator gives them. */
function featuresOf(run: Run): Feature[] {
  return run.features.map(({ input_ids, seq_len }) => ({
    input_ids,
    labels: [
      ...Array(Math.min(seq_len - 1, input_ids.length)).fill(-100),
      ...input_ids.slice(seq_len - 1),
    ],
  }));
}

function matrix(values: BigInt64Array, columns: number): number[][] {
  return Array.from(
    { length: values.length / columns },
    (_, row) =>
      [...values.subarray(row * columns, (row + 1) * columns)].map(Number),
  );
}

for (const name of ["legacy", "metaspace", "backend"]) {
  for (const run of runsOf(name)) {
    const title = `${name} at ${run.length}${run.skip ? ", skipping" : ""}`;
    const setting = async () => ({
      tokenizer: await AutoTokenizer.fromPretrained(`${DATA}/${name}`),
      config: JSON.parse(Deno.readTextFileSync(`${DATA}/${name}/config.json`)),
      maxSeqLength: run.length,
      skipOverlength: run.skip,
      promptFormat: "recipe",
    });

    Deno.test(`the recipe's format gives the recipe's features for ${title}`, async () => {
      const { tokenizer, config, ...limit } = await setting();
      const [eosTokenId] = [config.eos_token_id].flat();
      const format = await promptFormat("recipe", {
        tokenizer,
        eosTokenId,
        system: null,
      });
      const examples = readExamples(ROWS);
      const rows = await format.encode(examples, run.length);
      const { features } = selectRows(
        rows.map((row) => ({
          ...row,
          trainedTokens: trainedTokens(row),
          emptyAnswer: false,
        })),
        limit,
      );
      assert.deepEqual(features, featuresOf(run));
    });

    Deno.test(`dataCollator() gives the recipe's batches for ${title}`, async () => {
      const { tokenizer } = await setting();
      for (const [index, want] of run.batches.entries()) {
        const rows = featuresOf(run).slice(index * 4, index * 4 + 4);
        const batch = dataCollator(rows, tokenizer);
        const length = batch.inputIds.length / rows.length;
        assert.deepEqual(matrix(batch.inputIds, length), want.input_ids);
        const pairs = want.labels.flatMap((labels, row) =>
          labels.flatMap((label, at) =>
            at > 0 && label !== -100 ? [[row * length + at - 1, label]] : []
          )
        );
        const { targets } = batch;
        assert.deepEqual(
          [...targets.rows].map(Number),
          pairs.map(([at]) => at),
        );
        assert.deepEqual(
          [...targets.labels].map(Number),
          pairs.map(([, label]) => label),
        );
        const tokens = rows.reduce((sum, row) => sum + row.input_ids.length, 0);
        assert.equal(batch.tokens, tokens);
      }
    });

    if (run.length <= 6) continue;
    Deno.test(`loadDataset() gives the recipe's features for ${title}`, async () => {
      const dataset = await loadDataset(ROWS, await setting());
      assert.deepEqual(dataset.features, featuresOf(run));
      assert.equal(dataset.preflight.rows, run.features.length);
    });
  }
}
