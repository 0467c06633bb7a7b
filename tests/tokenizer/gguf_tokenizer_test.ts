/**
 * Tokenizers from GGUF files: the ids of the tokenizer that the file was made from,
 * before and after they are saved as a folder's files.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoTokenizer } from "../../lib/tokenizer/mod.ts";
import { InputError } from "../../lib/input_error.ts";

const GGUF = "tests/fixtures/gguf";
const golden: {
  readonly texts: readonly string[];
  readonly ids: readonly number[][];
  readonly prompt: string;
} = JSON.parse(Deno.readTextFileSync(`${GGUF}/golden.json`));

async function assertGolden(tokenizer: AutoTokenizer): Promise<void> {
  assert.deepEqual(await tokenizer.encodeBatch(golden.texts), golden.ids);
  for (const [i, text] of golden.texts.entries()) {
    assert.equal(tokenizer.decode(golden.ids[i]!), text);
  }
  const { bosTokenId, eosTokenId, unkTokenId, padTokenId } = tokenizer;
  assert.deepEqual([bosTokenId, eosTokenId, unkTokenId, padTokenId], [
    1,
    2,
    0,
    2,
  ]);
  const messages = [{ role: "user", content: "Hi" }] as const;
  const prompt = tokenizer.applyChatTemplate(messages, {
    addGenerationPrompt: true,
  });
  assert.equal(prompt, golden.prompt);
}

Deno.test("AutoTokenizer.fromPretrained() of a GGUF file gives the ids, the special tokens and the chat prompt of transformers", async () => {
  await assertGolden(await AutoTokenizer.fromPretrained(`${GGUF}/llama.gguf`));
});

Deno.test("AutoTokenizer.savePretrained() writes a GGUF file's tokenizer as a folder's files", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const made = await AutoTokenizer.fromPretrained(`${GGUF}/llama.gguf`);
    made.savePretrained(folder);
    await assertGolden(await AutoTokenizer.fromPretrained(folder));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

const made: {
  readonly texts: readonly string[];
  readonly tokenizers: Readonly<
    Record<
      string,
      {
        readonly size: number;
        readonly first: number | null;
        readonly ids: readonly number[][];
      }
    >
  >;
} = JSON.parse(Deno.readTextFileSync(`${GGUF}/tokenizers/golden.json`));

for (const [name, want] of Object.entries(made.tokenizers)) {
  Deno.test(`AutoTokenizer.fromPretrained() of ${name}.gguf gives the ids of the tokenizer that it was made from, before and after it is saved`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      const path = `${GGUF}/tokenizers/${name}.gguf`;
      const read = await AutoTokenizer.fromPretrained(path);
      read.savePretrained(folder);
      const saved = await AutoTokenizer.fromPretrained(folder);
      for (const tokenizer of [read, saved]) {
        assert.equal(tokenizer.vocabSize, want.size);
        const plain = { addSpecialTokens: false };
        const ids = await tokenizer.encodeBatch(made.texts, plain);
        assert.deepEqual(ids, want.ids);
        const [whole = []] = await tokenizer.encodeBatch(made.texts);
        const before = want.first === null ? [] : [want.first];
        assert.deepEqual(whole, [...before, ...want.ids[0]!]);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

/** The fixture `name` with `before` replaced, once, by as many bytes. */
async function changed(
  before: string,
  after: string,
  name = "llama",
): Promise<AutoTokenizer> {
  const bytes = Deno.readFileSync(`${GGUF}/${name}.gguf`);
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  assert(text.includes(before) && before.length === after.length);
  const folder = await Deno.makeTempDir();
  try {
    const content = text.replace(before, after);
    const path = `${folder}/x.gguf`;
    Deno.writeFileSync(
      path,
      Uint8Array.from(content, (each) => each.charCodeAt(0)),
    );
    return await AutoTokenizer.fromPretrained(path).catch((error) => {
      assert(error instanceof InputError, String(error));
      throw new InputError(error.message.replaceAll(path, "F"));
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const SMOLLM = "\x06\0\0\0\0\0\0\0smollm";

Deno.test("AutoTokenizer.fromPretrained() splits as the GGUF file's tokenizer.ggml.pre says", async () => {
  const llama3 = await changed(SMOLLM, "\x06\0\0\0\0\0\0\0llama3");
  const folder = Deno.makeTempDirSync();
  llama3.savePretrained(folder);
  const read = (path: string): Record<string, unknown> =>
    JSON.parse(Deno.readTextFileSync(`${path}/tokenizer.json`));
  const saved = read(folder);
  Deno.removeSync(folder, { recursive: true });
  const real = read("tests/fixtures/tokenizers/llama3");
  assert.deepEqual(saved["pre_tokenizer"], real["pre_tokenizer"]);
  assert.equal(llama3.decode(await llama3.encode("12345")), "12345");
  await assert.rejects(
    changed(SMOLLM, "\x06\0\0\0\0\0\0\0strang"),
    {
      message:
        'Cannot load tokenizer from "F": its tokenizer.ggml.pre is "strang", known are "gpt-2", "gpt2", "smollm", "llama-bpe", "llama3", "llama-v3", "qwen2", "tekken"',
    },
  );
});

Deno.test("AutoTokenizer.fromPretrained() adds the first token where the GGUF file says so", async () => {
  const flag = "tokenizer.ggml.add_bos_token\x07\0\0\0";
  const adds = await changed(`${flag}\0`, `${flag}\x01`);
  assert.deepEqual(await adds.encode(golden.texts[0]!), [1, ...golden.ids[0]!]);
  assert.deepEqual(
    await adds.encode(golden.texts[0]!, { addSpecialTokens: false }),
    golden.ids[0],
  );
});

const REFUSED: readonly [string, string, string, string][] = [
  [
    "another kind of tokenizer",
    "\x04\0\0\0\0\0\0\0gpt2",
    "\x04\0\0\0\0\0\0\0bert",
    `its tokenizer is of the kind "bert", only "gpt2", byte-level BPE, and "llama", SentencePiece's, are read`,
  ],
  [
    "no tokenizer",
    "tokenizer.ggml.model",
    "tokenizer.ggml.modem",
    "it has no tokenizer.ggml.model",
  ],
  [
    "no merges",
    "tokenizer.ggml.merges",
    "tokenizer.ggml.verges",
    "its tokenizer.ggml.merges is not a list of texts",
  ],
  [
    "an end that is not a token",
    "tokenizer.ggml.eos_token_id\x04\0\0\0\x02\0",
    "tokenizer.ggml.eos_token_id\x04\0\0\0\x02\x09",
    "its tokenizer.ggml.eos_token_id is 2306, one of its 281 tokens is needed",
  ],
  [
    "a token twice",
    "\x01\0\0\0\0\0\0\0a\x01\0\0\0\0\0\0\0b",
    "\x01\0\0\0\0\0\0\0a\x01\0\0\0\0\0\0\0a",
    "its tokenizer.ggml.tokens has a token twice",
  ],
  [
    "kinds that are no numbers",
    "tokenizer.ggml.token_type\x09\0\0\0\x05",
    "tokenizer.ggml.token_type\x09\0\0\0\x06",
    "its tokenizer.ggml.token_type is not a list of whole numbers",
  ],
];

for (const [what, before, after, reason] of REFUSED) {
  Deno.test(`AutoTokenizer.fromPretrained() refuses a GGUF file with ${what}`, async () => {
    await assert.rejects(changed(before, after), {
      message: `Cannot load tokenizer from "F": ${reason}`,
    });
  });
}

const SCORES = "tokenizer.ggml.scores\x09\0\0\0";
const TYPES = "tokenizer.ggml.token_type";
const SENTENCEPIECE_REFUSED: readonly [string, string, string, string][] = [
  [
    "no scores",
    `${SCORES}\x06`,
    `${SCORES}\x05`,
    "its tokenizer.ggml.scores is not a list of 905 numbers",
  ],
  [
    "no types",
    TYPES,
    "tokenizer.ggml.token_tape",
    "it has no tokenizer.ggml.token_type",
  ],
  [
    "a byte that is none",
    "<0x41>",
    "<0xZZ>",
    'in tokenizer.model piece 68 is "<0xZZ>", a byte such as "<0x0A>" is needed',
  ],
];

for (const [what, before, after, reason] of SENTENCEPIECE_REFUSED) {
  Deno.test(`AutoTokenizer.fromPretrained() refuses a GGUF file of SentencePiece's kind with ${what}`, async () => {
    await assert.rejects(changed(before, after, "tokenizers/bpe"), {
      message: `Cannot load tokenizer from "F": ${reason}`,
    });
  });
}

Deno.test("AutoTokenizer.fromPretrained() refuses a GGUF file of SentencePiece's kind whose scores are all the same", async () => {
  const bytes = Deno.readFileSync(`${GGUF}/tokenizers/bpe.gguf`);
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const start = text.indexOf(SCORES) + SCORES.length + 4 + 8;
  bytes.fill(0, start, start + 905 * 4);
  const folder = await Deno.makeTempDir();
  try {
    Deno.writeFileSync(`${folder}/x.gguf`, bytes);
    await assert.rejects(AutoTokenizer.fromPretrained(folder), {
      message:
        `Cannot load tokenizer from "${folder}/x.gguf": its tokenizer.ggml.scores are all 0, so which pieces are joined first is not known`,
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("AutoTokenizer.fromPretrained() takes white space behind the special tokens of a GGUF file that names Phi-3", async () => {
  const named = await changed(
    "tiny fixture",
    "phi-3 fixtur",
    "tokenizers/bpe",
  );
  const plain = { addSpecialTokens: false };
  assert.deepEqual(
    await named.encode("<|user|>\n a", plain),
    await named.encode("<|user|>a", plain),
  );
  assert.notDeepEqual(
    await named.encode("<s>\na", plain),
    await named.encode("<s>a", plain),
  );
});
