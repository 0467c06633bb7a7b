/**
 * preflight and loadDataset: what is counted, said and refused.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { type Dataset, loadDataset } from "../../lib/data/load_dataset.ts";
import {
  describePreflight,
  preflight,
  type PreparedRow,
} from "../../lib/data/preflight.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { rowOf } from "../training/tiny_run.ts";

const DATA = "tests/fixtures/data";

/** A row with a prompt of 3 ids and an answer of `answer` ids. */
function row(answer: number, prompt = 3): PreparedRow {
  return {
    feature: rowOf(
      Array.from({ length: prompt + answer + 1 }, (_, id) => id),
      prompt - 1,
    ),
    promptLength: prompt,
    emptyAnswer: answer === 0,
  };
}

async function load(
  rows: readonly unknown[],
  maxSeqLength: number,
  skip = false,
): Promise<Dataset | string> {
  const path = Deno.makeTempFileSync({ suffix: ".jsonl" });
  try {
    Deno.writeTextFileSync(path, rows.map((r) => JSON.stringify(r)).join("\n"));
    return await loadDataset(path, {
      tokenizer: await AutoTokenizer.fromPretrained(`${DATA}/legacy`),
      config: { eos_token_id: [2, 1] },
      maxSeqLength,
      skipOverlength: skip,
    });
  } catch (error) {
    return (error as Error).message.replaceAll(path, "F");
  } finally {
    Deno.removeSync(path);
  }
}

Deno.test("preflight() tells what the limit takes from each row", () => {
  const rows = [row(2), row(0), row(3), row(4), row(9), row(5, 6)];
  assert.deepEqual(preflight(rows, { maxSeqLength: 6 }), {
    rowsRead: 6,
    rows: 6,
    tokens: 6 + 4 + 6 + 6 + 6 + 6,
    trainedTokens: 4 + 2 + 4 + 4 + 4 + 1,
    answerTokens: 2 + 0 + 3 + 3 + 3 + 0,
    answersCut: 1,
    answersShortened: 2,
    eosCut: 1,
    rowsSkipped: 0,
    emptyAnswers: 1,
    longestRow: 6,
    maxSeqLength: 6,
  });
});

Deno.test("preflight() leaves out long rows with skipOverlength", () => {
  const numbers = preflight([row(2), row(3), row(9)], {
    maxSeqLength: 6,
    skipOverlength: true,
  });
  assert.deepEqual(
    [numbers.rows, numbers.rowsSkipped, numbers.eosCut, numbers.tokens],
    [1, 2, 0, 6],
  );
});

Deno.test("describePreflight() says numbers first, then only what is amiss", () => {
  const say = (rows: ReturnType<typeof row>[]) =>
    describePreflight(preflight(rows, { maxSeqLength: 6 }));
  assert.deepEqual(say([row(2)]), [
    "1 row, 6 tokens of which 4 are trained, longest row 6 of 6",
  ]);
  assert.deepEqual(say([row(3), row(4), row(5, 6), row(0), row(0)]), [
    "5 rows, 26 tokens of which 13 are trained, longest row 6 of 6",
    "1 row without any answer, the prompt alone fills max_seq_length 6",
    "1 row with a shortened answer, cut at max_seq_length 6",
    "1 row without EOS, one id over max_seq_length 6: the model is not taught to stop there",
    "2 rows with an empty output, only EOS is learnt there",
  ]);
});

Deno.test("loadDataset() says which max_seq_length is needed when no answer is left", async () => {
  const example = { instruction: "回答", input: "1+1等于几?", output: "2" };
  const whole = await load([example], 256);
  assert(typeof whole !== "string");
  const needed = whole.features[0]!.input_ids.length;
  const longer = { ...example, output: "22" };
  assert.equal(
    await load([example, longer], 8),
    `Cannot train on "F": no row has any of its answer left at max_seq_length 8, the shortest row needs ${needed} and all rows need ${
      needed + 1
    }`,
  );
  assert.match(
    String(await load([example], 8, true)),
    /left at max_seq_length 8 with skip_overlength, /,
  );
  assert(typeof await load([example], needed) !== "string");
});

Deno.test("loadDataset() refuses a file of empty answers and a limit below 1", async () => {
  const example = { instruction: "回答", input: "", output: "" };
  assert.equal(
    await load([example], 64),
    'Cannot train on "F": every "output" is empty, the answers to learn are needed there',
  );
  assert.equal(
    await load([example], 0),
    "Cannot use max_seq_length 0: it must be a whole number from 1",
  );
});
