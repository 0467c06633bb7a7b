/**
 * A tokenizer.json of each kind loads and gives the library's ids; one that would
 * end the process is refused. tests/fixtures/make_tokenizers.py made the numbers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { fuzz } from "./fuzz_tokenizer_json.ts";

interface Golden {
  readonly ids: number[][];
  readonly plain: number[][];
  readonly decoded: string[];
}

const DATA = "tests/fixtures/tokenizers";
const { texts, tokenizers } = JSON.parse(
  Deno.readTextFileSync(`${DATA}/golden.json`),
) as { texts: string[]; tokenizers: Record<string, Golden> };

for (const [name, want] of Object.entries(tokenizers)) {
  Deno.test(`AutoTokenizer gives the library's ids and text for ${name}`, async () => {
    const tokenizer = await AutoTokenizer.fromPretrained(`${DATA}/${name}`);
    assert.deepEqual(await tokenizer.encodeBatch(texts), want.ids);
    assert.deepEqual(
      await tokenizer.encodeBatch(texts, { addSpecialTokens: false }),
      want.plain,
    );
    const decoded = want.ids.map((ids) => tokenizer.decode(ids));
    assert.deepEqual(decoded, want.decoded);
  });
}

/** What refuses the tokenizer.json of a fixture after `change`; "" where it loads. */
async function refusal(
  name: string,
  // deno-lint-ignore no-explicit-any
  change: (json: any) => void,
): Promise<string> {
  const json = JSON.parse(
    Deno.readTextFileSync(`${DATA}/${name}/tokenizer.json`),
  );
  change(json);
  const folder = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${folder}/tokenizer.json`, JSON.stringify(json));
    await AutoTokenizer.fromPretrained(folder);
    return "";
  } catch (error) {
    assert(error instanceof InputError, `${error} is not an InputError`);
    return error.message.replace(
      `Cannot load tokenizer from "${folder}": in tokenizer.json `,
      "",
    );
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

const replaced = (pattern: unknown) => ({
  type: "Replace",
  pattern,
  content: "aa",
});
const nested = (type: string, depth: number): unknown =>
  depth === 0
    ? { type: "Fuse" }
    : { type: "Sequence", [type]: [nested(type, depth - 1)] };

/** Each of these ended the process or never ended when the library got it. */
// deno-lint-ignore no-explicit-any
const DEADLY: readonly [string, string, (json: any) => void, RegExp][] = [
  [
    "a template token without ids",
    "unigram",
    (it) => it.post_processor.special_tokens = {},
    /^post_processor has "<\/s>" in a template, "special_tokens" must list it$/,
  ],
  [
    "a single template with the sequence B",
    "unigram",
    (it) => it.post_processor.single[0].Sequence.id = "B",
    /the sequence B, which only a pair has$/,
  ],
  [
    "a template after one of three pieces",
    "llama3",
    (it) => {
      const [, template] = it.post_processor.processors;
      template.single.push(template.single[0]);
      it.post_processor.processors.push(template);
    },
    /that gets 3 parts from the one before, 1 or 2 are needed$/,
  ],
  [
    "a character map cut short",
    "unigram",
    (it) => {
      const [map] = it.normalizer.normalizers;
      map.precompiled_charsmap = map.precompiled_charsmap.slice(0, 400);
    },
    /precompiled_charsmap cannot be used: its trie has \d+ bytes and 296 are there/,
  ],
  [
    "a character map that leads outside itself",
    "unigram",
    (it) => changeMap(it, (bytes) => bytes.fill(0xff, 4, 8)),
    /precompiled_charsmap cannot be used: its trie leads outside itself$/,
  ],
  [
    "a character map without its replacements",
    "unigram",
    (it) =>
      changeMap(it, (bytes) => {
        const size = new DataView(bytes.buffer).getUint32(0, true);
        return bytes.subarray(0, 4 + size);
      }),
    /its trie names a replacement that is not there$/,
  ],
  [
    "a merge that is longer than every token",
    "llama3",
    (it) => {
      const longest = Object.keys(it.model.vocab).sort((a, b) =>
        b.length - a.length
      );
      it.model.merges.push([longest[0], longest[1]]);
    },
    /^model\.merges\[\d+\] makes ".+", which model\.vocab does not have$/,
  ],
  [
    "a merge without the prefix that is cut off",
    "prefix",
    (it) => it.model.merges.push(["a", "b"]),
    /has "b" on its right, a token that starts with "##" is needed$/,
  ],
  [
    "a length of 0",
    "mixture",
    (it) => it.pre_tokenizer.pretokenizers[5].length = 0,
    /pretokenizers\[5\]\.length is 0, a whole number of 1 to 2147483648 is needed$/,
  ],
  [
    "a decoder that strips ends",
    "mixture",
    (it) => it.decoder.decoders[4].stop = 1,
    /^decoder\.decoders\[4\]\.stop is 1, 0 is needed$/,
  ],
  [
    "an empty prefix",
    "mixture",
    (it) => it.normalizer.normalizers[6].prepend = "",
    /prepend is "", at least one character is needed$/,
  ],
  [
    "a replacement of nothing",
    "clip",
    (it) => it.normalizer.normalizers[1].pattern = { Regex: "a*|b" },
    /^normalizer\.normalizers\[1\] has a pattern that can match between two characters/,
  ],
  [
    "a pattern that takes a time without end",
    "clip",
    (it) => it.pre_tokenizer.pretokenizers[0].pattern.Regex = "(a+)+$",
    /pattern\.Regex "\(a\+\)\+\$" cannot be used: it can take a time without end/,
  ],
  [
    "texts that grow a million times",
    "clip",
    (it) =>
      it.normalizer.normalizers = Array.from(
        { length: 20 },
        () => replaced({ String: "a" }),
      ),
    /can make a text 2097152 times longer, at most 300 times is needed$/,
  ],
  [
    "sequences in sequences",
    "clip",
    (it) => it.decoder = nested("decoders", 200),
    /^decoder\.decoders\[0\].* is nested too deeply, at most 20 levels are read$/,
  ],
  [
    "a decoder of no known type",
    "clip",
    (it) => it.decoder.type = "__proto__",
    /^decoder\.type is "__proto__", one of BPEDecoder, .*Sequence is needed$/,
  ],
  [
    "ids that change each time",
    "llama3",
    (it) => it.model.dropout = 0.1,
    /^model\.dropout is 0\.1, 0 is needed$/,
  ],
];

// deno-lint-ignore no-explicit-any
function changeMap(json: any, change: (bytes: Uint8Array) => Uint8Array): void {
  const [map] = json.normalizer.normalizers;
  const bytes = Uint8Array.fromBase64(map.precompiled_charsmap);
  map.precompiled_charsmap = change(bytes).toBase64();
}

for (const [what, name, change, message] of DEADLY) {
  Deno.test(`AutoTokenizer.fromPretrained() refuses ${what}`, async () => {
    assert.match(await refusal(name, change), message);
  });
}

Deno.test("AutoTokenizer.fromPretrained() names everything that is wrong, ten at most", async () => {
  const message = await refusal("mixture", (it) => {
    it.version = "2.0";
    it.pre_tokenizer.pretokenizers = Array.from(
      { length: 20 },
      () => ({ type: "Digits", individual_digits: 1 }),
    );
  });
  assert.match(message, /^version is "2\.0", "1\.0" is needed; /);
  assert.equal(message.match(/true or false is needed/g)?.length, 9);
  assert.match(message, /; and 11 more$/);
});

Deno.test("AutoTokenizer.fromPretrained() does not mind fields that nobody knows", async () => {
  const add = (it: Record<string, Record<string, unknown>>) => {
    it["extra"] = {};
    it["model"]!["extra"] = [];
    it["decoder"]!["extra"] = 1;
  };
  assert.equal(await refusal("llama3", add), "");
});

Deno.test("AutoTokenizer.fromPretrained() loads a model without its type, as old files have it", async () => {
  for (const name of Object.keys(tokenizers)) {
    const message = await refusal(name, (it) => delete it.model.type);
    assert.equal(message, "");
  }
});

Deno.test("AutoTokenizer.encode() refuses a text on which a pattern would end the process", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(`${DATA}/llama3`);
  await assert.rejects(() => tokenizer.encode(" ".repeat(11_000_000)), {
    name: "InputError",
    message: /^Cannot tokenize a text of 11000000 characters: the patterns/,
  });
});

Deno.test("AutoTokenizer.encode() says what the library cannot do", async () => {
  const json = JSON.parse(
    Deno.readTextFileSync(`${DATA}/wordpiece/tokenizer.json`),
  );
  json.model.unk_token = "[NONE]";
  const folder = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${folder}/tokenizer.json`, JSON.stringify(json));
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    await assert.rejects(() => tokenizer.encode("𠮷"), {
      name: "InputError",
      message: /^Cannot tokenize with ".*": WordPiece error: Missing \[UNK\]/,
    });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("AutoTokenizer survives 300 mutants of tokenizer.json", async () => {
  const { failures, loaded, refused } = await fuzz(1, 300);
  assert.deepEqual(failures, []);
  assert(loaded > 50 && refused > 50, `${loaded} loaded, ${refused} refused`);
});

Deno.test("AutoTokenizer joins pairs of merges that the older form, one line each, cannot write", async () => {
  const folder = Deno.makeTempDirSync();
  const ids = async (chain: string, pairs: string[][]): Promise<number[]> => {
    const steps = Array.from(chain, (_, i) => chain.slice(0, i + 1)).slice(1);
    const merges = [
      ...steps.map((step) => [step.slice(0, -1), step.at(-1)]),
      ...pairs,
    ];
    const tokens = new Set([...chain, ...steps, ...pairs.flat()]);
    for (const pair of pairs) tokens.add(pair.join(""));
    const vocab = Object.fromEntries([...tokens].map((it, id) => [it, id]));
    Deno.writeTextFileSync(
      `${folder}/tokenizer.json`,
      JSON.stringify({ model: { type: "BPE", vocab, merges } }),
    );
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    const text = pairs.at(-1)!.join("");
    return (await tokenizer.encode(text)).map((id) => id - vocab[text]!);
  };
  try {
    assert.deepEqual(await ids("ab", [["ab", "b"]]), [0]);
    assert.deepEqual(await ids("a b", [["a b", "b"]]), [0]);
    assert.deepEqual(await ids("#version", [["#version", "v"]]), [0]);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
