/**
 * Which rows are trained, and what is counted and said of them.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { trainedTokens } from "../../lib/data/batch.ts";
import {
  describePreflight,
  type Preflight,
  selectRows,
} from "../../lib/data/preflight.ts";
import { turnFormat } from "../../lib/data/turn_format.ts";

/** A tokenizer whose tokens are characters. */
const CHARACTERS = {
  bosTokenId: null,
  eosTokenId: 0,
  encodeBatch: (
    texts: readonly string[],
    options: { readonly maxLength?: number },
  ) =>
    Promise.resolve(
      texts.map((text) =>
        Array.from(text, (it) => it.codePointAt(0)!).slice(0, options.maxLength)
      ),
    ),
};

/** Lengths of an answer and, if it is not 3, of its prompt. */
type Lengths = readonly [answer: number, prompt?: number];

/** The numbers of rows of these lengths, with `end` after each answer. */
async function numbersOf(
  rows: readonly Lengths[],
  limit: { maxSeqLength: number; skipOverlength?: boolean },
  end?: string,
): Promise<Preflight> {
  const format = await turnFormat({
    name: "characters",
    user: [{ place: "content" }],
    assistant: "",
    trainsLastPromptId: true,
    ...(end === undefined ? {} : { end }),
  }).create({ tokenizer: CHARACTERS, eosTokenId: 0, system: null });
  const encoded = await format.encode(
    rows.map(([answer, prompt = 3]) => ({
      messages: [
        { role: "user", content: "?".repeat(prompt), trained: false },
        { role: "assistant", content: "!".repeat(answer), trained: true },
      ],
    })),
    limit.maxSeqLength,
  );
  const prepared = encoded.map((row, index) => ({
    ...row,
    trainedTokens: trainedTokens(row),
    emptyAnswer: rows[index]![0] === 0,
  }));
  return selectRows(prepared, limit).preflight;
}

Deno.test("selectRows() tells what the limit took from each row", async () => {
  const rows: Lengths[] = [[2], [0], [3], [4], [9], [5, 6]];
  assert.deepEqual(await numbersOf(rows, { maxSeqLength: 6 }), {
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

Deno.test("selectRows() counts an ending of several ids that is cut in the middle", async () => {
  const numbers = await numbersOf([[1], [2]], { maxSeqLength: 5 }, "<>");
  assert.deepEqual(
    [numbers.eosCut, numbers.answersShortened, numbers.answerTokens],
    [2, 0, 3],
  );
});

Deno.test("selectRows() leaves out long rows with skipOverlength", async () => {
  const numbers = await numbersOf([[2], [3], [9]], {
    maxSeqLength: 6,
    skipOverlength: true,
  });
  assert.deepEqual(
    [numbers.rows, numbers.rowsSkipped, numbers.eosCut, numbers.tokens],
    [1, 2, 0, 6],
  );
});

Deno.test("describePreflight() says numbers first, then only what is amiss", async () => {
  const say = async (rows: readonly Lengths[]): Promise<string[]> =>
    describePreflight(await numbersOf(rows, { maxSeqLength: 6 }));
  assert.deepEqual(await say([[2]]), [
    "1 row, 6 tokens of which 4 are trained, longest row 6 of 6",
  ]);
  assert.deepEqual(await say([[3], [4], [5, 6], [0], [0]]), [
    "5 rows, 26 tokens of which 13 are trained, longest row 6 of 6",
    "1 row without any answer, the prompt alone fills max_seq_length 6",
    "1 row with a shortened answer, cut at max_seq_length 6",
    "1 row without EOS, one id over max_seq_length 6: the model is not taught to stop there",
    "2 rows with an empty output, only EOS is learnt there",
  ]);
});
