/**
 * `generateBatch` against `generate`, for every family: rows of different lengths
 * have no influence on each other.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  type CausalLm,
} from "../../lib/architectures/mod.ts";
import { generate, generateBatch } from "../../lib/generation/mod.ts";
import { liveTensors } from "../../lib/tensor/mod.ts";

/** Two of them are the same, and one ends before the window of most families does. */
const PROMPTS = [[5], [7, 3, 9, 11, 4, 8, 20, 21, 22], [30, 31, 3, 2], [
  7,
  3,
  9,
  11,
  4,
  8,
  20,
  21,
  22,
]];

const FOLDERS = ["tests/fixtures/families", "tests/fixtures/models"].flatMap(
  (parent) =>
    [...Deno.readDirSync(parent)].filter(({ isDirectory }) => isDirectory)
      .map(({ name }) => `${parent}/${name}`).toSorted(),
);

function alone(
  model: CausalLm,
  options: Parameters<typeof generate>[2],
): number[][] {
  return PROMPTS.map((ids) => [...generate(model, ids, options)]);
}

for (const folder of FOLDERS) {
  Deno.test(`generateBatch() continues each row of ${folder} as if it were alone`, () => {
    const before = liveTensors();
    {
      using model = AutoModelForCausalLM.fromPretrained(folder);
      const options = { maxNewTokens: 12, eosTokenIds: [] };
      assert.deepEqual(
        generateBatch(model, PROMPTS, options),
        alone(model, options),
      );
    }
    assert.equal(liveTensors(), before);
  });
}

for (const folder of FOLDERS) {
  Deno.test(`generateBatch() continues rows of one length of ${folder} as if each were alone`, () => {
    using model = AutoModelForCausalLM.fromPretrained(folder);
    const options = { maxNewTokens: 8, eosTokenIds: [] };
    const prompts = [[7, 3, 9, 11, 4, 8], [30, 31, 3, 2, 5, 1], [
      8,
      8,
      4,
      20,
      21,
      22,
    ]];
    assert.deepEqual(
      generateBatch(model, prompts, options),
      prompts.map((ids) => [...generate(model, ids, options)]),
    );
  });
}

const GQA = "tests/fixtures/models/llama_gqa";

Deno.test("generateBatch() ends each row at its own end token", () => {
  using model = AutoModelForCausalLM.fromPretrained(GQA);
  const whole = alone(model, { maxNewTokens: 12, eosTokenIds: [] });
  const eosTokenIds = [whole[0]![2]!, whole[2]![5]!];
  const options = { maxNewTokens: 12, eosTokenIds };
  const answers = generateBatch(model, PROMPTS, options);
  assert.deepEqual(answers, alone(model, options));
  assert.equal(new Set(answers.map((ids) => ids.length)).size > 1, true);
});

Deno.test("generateBatch() of one prompt samples the tokens of generate() with the same seed", () => {
  for (const name of ["llama_gqa", "rope_dynamic"]) {
    using model = AutoModelForCausalLM.fromPretrained(
      `tests/fixtures/models/${name}`,
    );
    const options = {
      doSample: true,
      temperature: 2,
      repetitionPenalty: 1.2,
      seed: 3,
      maxNewTokens: 20,
      eosTokenIds: [],
    };
    const [ids] = generateBatch(model, [[1, 17, 40]], options);
    assert.deepEqual(ids, [...generate(model, [1, 17, 40], options)]);
  }
});

Deno.test("generateBatch() draws for each row on its own", () => {
  using model = AutoModelForCausalLM.fromPretrained(GQA);
  const options = {
    doSample: true,
    temperature: 5,
    seed: 3,
    maxNewTokens: 20,
    eosTokenIds: [],
  };
  const [first, second] = generateBatch(model, [[1, 17], [1, 17]], options);
  assert.notDeepEqual(first, second);
});

Deno.test("generateBatch() gives no rows for no prompts, and refuses a wrong one before it begins", () => {
  using model = AutoModelForCausalLM.fromPretrained(GQA);
  assert.deepEqual(generateBatch(model, []), []);
  assert.throws(
    () => generateBatch(model, [[1], []]),
    /the prompt is empty, at least one token is needed$/,
  );
  assert.throws(
    () => generateBatch(model, [[1]], { maxNewTokens: 0 }),
    /^RangeError: Cannot generate 0 tokens/,
  );
});

Deno.test("generateBatch() reads prompts of one length together, repeated ones once, others one at a time", () => {
  using model = AutoModelForCausalLM.fromPretrained(GQA);
  const plain = model.hidden.bind(model);
  const readShapes = (prompts: number[][]): string[] => {
    const shapes: string[] = [];
    model.hidden = (ids, options) => {
      shapes.push(ids.shape.join("x"));
      return plain(ids, options);
    };
    generateBatch(model, prompts, { maxNewTokens: 2, eosTokenIds: [] });
    return shapes;
  };
  assert.deepEqual(readShapes([[1, 2], [3, 4], [5, 6]]), ["3x2", "3x1"]);
  assert.deepEqual(readShapes([[1, 2], [3, 4], [1, 2]]), [
    "1x2",
    "1x2",
    "3x1",
  ]);
  assert.deepEqual(readShapes([[1, 2], [3]]), ["1x2", "1x1", "2x1"]);
  const long = Array.from(
    { length: 2 },
    (_, row) => Array.from({ length: 2049 }, () => 5 + row),
  );
  assert.deepEqual(readShapes(long), ["1x2049", "1x2049", "2x1"]);
});
