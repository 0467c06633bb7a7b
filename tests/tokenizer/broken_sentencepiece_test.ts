/**
 * Files of tokenizer.model that are broken: each is refused with a sentence.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { field, numberField, pieceField } from "./sentencepiece_file.ts";

/** Does `work` with a folder that holds a model and `files`. */
async function withFolder(
  model: string,
  files: Readonly<Record<string, unknown>>,
  work: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.copyFileSync(
      `tests/fixtures/sentencepiece/${model}/tokenizer.model`,
      `${folder}/tokenizer.model`,
    );
    for (const [name, content] of Object.entries(files)) {
      Deno.writeTextFileSync(`${folder}/${name}`, JSON.stringify(content));
    }
    await work(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

const BROKEN: Record<string, readonly [number[], string]> = {
  "a tag of no type": [[0x0f], "there is no field at byte 0"],
  "a number without end": [
    [0x08, ...Array(12).fill(0xff)],
    "the number at byte 1 does not end",
  ],
  "a field longer than the file": [
    [0x0a, 0x7f, 1],
    "a field at byte 2 has 127 bytes and 1 are left",
  ],
  "a piece that is a number": [numberField(1, 5), "piece 0 is not a message"],
  "an empty piece": [pieceField(["", 0, 1]), "piece 0 is empty"],
  "a score that is not a number": [
    pieceField(["a", NaN, 1]),
    "the score of piece 0 is NaN",
  ],
  "a type that is not known": [
    pieceField(["a", 0, 9]),
    "piece 0 has the type 9",
  ],
  "a piece that is not UTF-8": [
    field(1, field(1, [0xff])),
    "piece 0 is not UTF-8",
  ],
  "a piece twice": [
    [...pieceField(["a", 0, 1]), ...pieceField(["a", 0, 1])],
    'it has the piece "a" twice',
  ],
  "no unknown piece": [pieceField(["a", 0, 1]), "it has no unknown piece"],
  "two unknown pieces": [
    [...pieceField(["a", 0, 2]), ...pieceField(["b", 0, 2])],
    "it has two unknown pieces",
  ],
  "words for an algorithm": [
    [...pieceField(["a", 0, 2]), ...field(2, numberField(3, 3))],
    'its model type is "word"',
  ],
  "bytes that are missing": [
    [...pieceField(["a", 0, 2]), ...field(2, numberField(35, 1))],
    "it has 0 byte pieces, 256 are needed",
  ],
  "a byte of another form": [
    pieceField(["<0xzz>", 0, 6]),
    'piece 0 is "<0xzz>", a byte',
  ],
  "a character map cut short": [
    [...pieceField(["a", 0, 2]), ...field(3, field(2, [1, 2, 3]))],
    "its character map cannot be used",
  ],
};

for (const [name, [bytes, reason]] of Object.entries(BROKEN)) {
  Deno.test(`AutoTokenizer refuses a tokenizer.model with ${name}`, async () => {
    await withFolder("bpe", {}, async (folder) => {
      Deno.writeFileSync(`${folder}/tokenizer.model`, Uint8Array.from(bytes));
      await assert.rejects(AutoTokenizer.fromPretrained(folder), (error) => {
        assert(error instanceof InputError, `${error}`);
        const start =
          `Cannot load tokenizer from "${folder}": in tokenizer.model ${reason}`;
        assert.equal(error.message.slice(0, start.length), start);
        return true;
      });
    });
  });
}

Deno.test("AutoTokenizer refuses a class whose rules it does not know beside a tokenizer.model", async () => {
  const config = { tokenizer_class: "XLMRobertaTokenizer" };
  await withFolder(
    "unigram",
    { "tokenizer_config.json": config },
    (folder) =>
      assert.rejects(AutoTokenizer.fromPretrained(folder), {
        message:
          `Cannot load tokenizer from "${folder}": in tokenizer.model the class "XLMRobertaTokenizer" has rules that are not known, a tokenizer.json is needed`,
      }),
  );
});

Deno.test("AutoTokenizer survives 1,000 mutants of tokenizer.model", async () => {
  const { code, stdout, signal } = await new Deno.Command(Deno.execPath(), {
    args:
      "run -q -A --no-prompt --preload tests/preload.ts tests/tokenizer/fuzz_sentencepiece.ts 1 1000"
        .split(" "),
    stderr: "null",
    signal: AbortSignal.timeout(120_000),
  }).output();
  const text = new TextDecoder().decode(stdout);
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, text);
  const { loaded, refused } = JSON.parse(text);
  assert(loaded > 50 && refused > 50, text);
});
