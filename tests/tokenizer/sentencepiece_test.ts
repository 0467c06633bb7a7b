/**
 * tokenizer.model without tokenizer.json against SentencePiece 0.2.2 and the slow
 * Llama tokenizer; tests/fixtures/make_sentencepiece.py made the numbers.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { SentencePiece } from "../../lib/tokenizer/sentencepiece.ts";
import { readSentencePieceModel } from "../../lib/tokenizer/sentencepiece_model.ts";
import { TextStream } from "../../lib/tokenizer/text_stream.ts";
import {
  field,
  llamaModel,
  llamaStart,
  numberField,
  pieceField,
  type WrittenPiece,
} from "./sentencepiece_file.ts";
import { withTokenizer } from "./temporary_tokenizer.ts";

interface Golden {
  readonly texts: string[];
  readonly models: Record<
    string,
    {
      readonly size: number;
      readonly ids: number[][];
      readonly decoded: string[];
    }
  >;
  readonly llama: Record<
    string,
    {
      readonly config: Record<string, unknown>;
      readonly size: number;
      readonly ids: number[][];
      readonly plain: number[][];
    }
  >;
}

const DATA = "tests/fixtures/sentencepiece";
const golden: Golden = JSON.parse(Deno.readTextFileSync(`${DATA}/golden.json`));

function modelOf(name: string): SentencePiece {
  const bytes = Deno.readFileSync(`${DATA}/${name}/tokenizer.model`);
  return new SentencePiece(readSentencePieceModel(bytes));
}

for (const [name, want] of Object.entries(golden.models)) {
  Deno.test(`SentencePiece gives the reference's ids for ${name}`, () => {
    const sentencePiece = modelOf(name);
    assert.equal(sentencePiece.model.pieces.length, want.size);
    for (const [i, text] of golden.texts.entries()) {
      assert.deepEqual(sentencePiece.encode(text), want.ids[i], text);
    }
  });

  Deno.test(`SentencePiece.decode() gives the reference's text for ${name}`, () => {
    const sentencePiece = modelOf(name);
    const { pieces, unknownId } = sentencePiece.model;
    for (const [i, ids] of want.ids.entries()) {
      // the reference writes what is unknown as " ⁇ "
      if (ids.includes(unknownId)) continue;
      const tokens = ids.map((id) => pieces[id]!.piece);
      assert.equal(sentencePiece.decode(tokens), want.decoded[i]);
    }
  });
}

for (const [name, want] of Object.entries(golden.llama)) {
  Deno.test(`AutoTokenizer gives the slow Llama tokenizer's ids for tokenizer.model of ${name}`, async () => {
    const config = { tokenizer_class: "LlamaTokenizer", ...want.config };
    const base = name.split("/")[0]!;
    await withTokenizer(
      `${DATA}/${base}/tokenizer.model`,
      { "tokenizer_config.json": config },
      async (folder) => {
        const tokenizer = await AutoTokenizer.fromPretrained(folder);
        assert.equal(tokenizer.vocabSize, want.size);
        for (const [i, ids] of want.ids.entries()) {
          const text = golden.texts[i]!;
          assert.deepEqual(await tokenizer.encode(text), ids, text);
          assert.deepEqual(
            await tokenizer.encode(text, { addSpecialTokens: false }),
            want.plain[i],
            text,
          );
        }
      },
    );
  });
}

Deno.test("SentencePiece gives a symbol that users defined for itself, whatever it could be joined to", () => {
  const pieces: WrittenPiece[] = [
    ...llamaStart(),
    ["ab", 0, 4],
    ["c", -2, 1],
    ["abc", -1, 1],
    ["cab", -1, 1],
  ];
  const sentencePiece = new SentencePiece(
    readSentencePieceModel(llamaModel(pieces)),
  );
  assert.deepEqual(sentencePiece.encode("cabc", false), [260, 259, 260]);
});

Deno.test("AutoTokenizer gives the 13 ids that Atom's authors recorded, with their pieces at their places", async () => {
  const pieces: WrittenPiece[] = llamaStart();
  const known: Record<number, string> = {
    4007: "▁Ass",
    12968: "▁Human",
    22137: "istant",
    29871: "▁",
    29901: ":",
    32164: "北京",
    32306: "一下",
    32400: "介绍",
  };
  // what is joined on the way: best first, then single characters
  const steps = "▁H,▁Hu,▁Hum,▁Huma,▁A,▁As,an,tan,tant,stant,is".split(",");
  const letters = [...new Set("HumanAssistant介绍一下北京")];
  for (let id = pieces.length; id < 33000; id++) {
    // the appended pieces have the score 0
    const score = id < 32000 ? -id : 0;
    const text = known[id] ?? (id < 300 ? steps[id - 259] : undefined) ??
      (id >= 29000 && id < 29100 ? letters[id - 29000] : undefined) ??
      `unused${id}`;
    pieces.push([text, score, 1]);
  }
  await withTokenizer(`${DATA}/bpe/tokenizer.model`, {}, async (folder) => {
    Deno.writeFileSync(`${folder}/tokenizer.model`, llamaModel(pieces));
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    assert.deepEqual(
      await tokenizer.encode("<s>Human: 介绍一下北京\n</s><s>Assistant:", {
        addSpecialTokens: false,
      }),
      "1 12968 29901 29871 32400 32306 32164 13 2 1 4007 22137 29901"
        .split(" ").map(Number),
    );
  });
});

Deno.test("AutoTokenizer of a tokenizer.model names its special ids, streams and cuts", async () => {
  await withTokenizer(
    `${DATA}/unigram_bytes/tokenizer.model`,
    {},
    async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      assert.deepEqual({
        bos: tokenizer.bosTokenId,
        eos: tokenizer.eosTokenId,
        unk: tokenizer.unkTokenId,
        pad: tokenizer.padTokenId,
      }, { bos: 1, eos: 2, unk: 0, pad: 3 });
      const text = "你好  御花园🌸 a";
      const ids = await tokenizer.encode(text);
      assert.equal(tokenizer.decode(ids, { skipSpecialTokens: true }), text);
      assert(tokenizer.decode(ids).startsWith("<s>"));
      const stream = new TextStream(tokenizer);
      const streamed = ids.map((id) => stream.push(id)).join("") + stream.end();
      assert.equal(streamed, text);
      assert.deepEqual(
        await tokenizer.encode(text, { maxLength: 4 }),
        ids.slice(0, 4),
      );
      // a character whose bytes are not all there
      assert.equal(
        tokenizer.decodeTokens(["<0xE4>", "<0xBB>", "<0x41>"]),
        "��A",
      );
    },
  );
});

Deno.test("AutoTokenizer.savePretrained() copies a lone tokenizer.model and its settings", async () => {
  const files = {
    "tokenizer_config.json": { legacy: false, add_eos_token: true },
    "special_tokens_map.json": { pad_token: "<|user|>" },
    "added_tokens.json": { "<|new|>": 1500 },
  };
  await withTokenizer(
    `${DATA}/unigram_bytes/tokenizer.model`,
    files,
    async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      tokenizer.savePretrained(`${folder}/output`);
      const again = await AutoTokenizer.fromPretrained(`${folder}/output`);
      const text = "你好<|new|> a";
      const ids = await again.encode(text);
      assert.deepEqual(ids, await tokenizer.encode(text));
      assert(ids.includes(1500) && ids.at(-1) === 2);
      assert.equal(again.padTokenId, tokenizer.padTokenId);
    },
  );
});

Deno.test("AutoTokenizer takes an added token's spaces and whole words as its settings say", async () => {
  const token = (content: string, flags: object): object => ({
    content,
    special: false,
    normalized: false,
    ...flags,
  });
  const added_tokens_decoder = {
    2000: token("<l>", { lstrip: true }),
    2001: token("<r>", { rstrip: true }),
    2002: token("<w>", { single_word: true }),
    2003: token("<w>>", {}),
  };
  const config = { added_tokens_decoder, add_bos_token: false };
  await withTokenizer(
    `${DATA}/bpe/tokenizer.model`,
    { "tokenizer_config.json": config },
    async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      const plain = (text: string) => tokenizer.encode(text);
      const join = async (...parts: (string | number)[]) =>
        (await Promise.all(
          parts.map((it) => typeof it === "string" ? plain(it) : [it]),
        )).flat();
      assert.deepEqual(await plain("你  <l> a"), await join("你", 2000, " a"));
      assert.deepEqual(await plain("你 <r>  a"), await join("你 ", 2001, "a"));
      assert.deepEqual(await plain("你 <w> a"), await join("你 ", 2002, " a"));
      assert(!(await plain("你<w> a")).includes(2002));
      assert(!(await plain("<w>a")).includes(2002));
      assert.deepEqual(await plain("<w>>"), [2003]);
    },
  );
});

Deno.test("AutoTokenizer reads ChatGLM's role tokens and frames texts as its class does", async () => {
  const config = {
    auto_map: {
      AutoTokenizer: ["tokenization_chatglm.ChatGLMTokenizer", null],
    },
  };
  await withTokenizer(
    `${DATA}/bpe/tokenizer.model`,
    { "tokenizer_config.json": config },
    async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      const size = golden.models["bpe"]!.size;
      const plain = (text: string) =>
        tokenizer.encode(text, { addSpecialTokens: false });
      assert.equal(tokenizer.padTokenId, tokenizer.unkTokenId);
      assert.deepEqual(
        (await tokenizer.encode("a")).slice(0, 2),
        [size + 1, size + 3],
      );
      assert.deepEqual(await plain("[gMASK]sop<|user|>a<|assistant|>"), [
        size + 1,
        size + 3,
        size + 6,
        ...await plain("a"),
        size + 7,
      ]);
      // the command token "sop" is not part of a word
      for (const word of ["sop", "eop"]) {
        assert.deepEqual(await plain(word), modelOf("bpe").encode(word));
      }
    },
  );
});

Deno.test("AutoTokenizer reads Baichuan's pieces 195 and 196 as role tokens", async () => {
  const pieces: WrittenPiece[] = [
    ["<unk>", 0, 2],
    ["<s>", 0, 3],
    ["</s>", 0, 3],
    ...Array.from({ length: 256 }, (_, i): WrittenPiece => {
      const isRole = i + 3 === 195 || i + 3 === 196;
      return [isRole ? `<reserved_${i}>` : `p${i}`, -i, 1];
    }),
    ["a", -300, 1],
  ];
  const bytes = Uint8Array.from([
    ...pieces.flatMap(pieceField),
    ...field(2, numberField(3, 2)),
    ...field(3, [...numberField(3, 0), ...numberField(4, 0)]),
  ]);
  const config = { tokenizer_class: "BaichuanTokenizer", add_bos_token: false };
  await withTokenizer(
    `${DATA}/bpe/tokenizer.model`,
    { "tokenizer_config.json": config },
    async (folder) => {
      Deno.writeFileSync(`${folder}/tokenizer.model`, bytes);
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      assert.deepEqual(
        await tokenizer.encode("<reserved_192>a<reserved_193>"),
        [195, 259, 196],
      );
    },
  );
});

Deno.test("AutoTokenizer gives a space after a special token its id without legacy, where the model drops spaces", async () => {
  const config = { legacy: false };
  await withTokenizer(
    `${DATA}/unigram/tokenizer.model`,
    { "tokenizer_config.json": config },
    async (folder) => {
      const tokenizer = await AutoTokenizer.fromPretrained(folder);
      // SentencePiece without dummy prefix cuts "<unk> a" to … "▁" (3) and "a" (11)
      assert.deepEqual(await tokenizer.encode("<s> a"), [1, 1, 3, 11]);
    },
  );
});

Deno.test("SentencePiece joins across places that pieces reach over, and counts what is unknown on both sides of one once", () => {
  const pieces: WrittenPiece[] = [
    ["<unk>", 0, 2],
    ["b", -4, 1],
    ["c", -5, 1],
    ["ab", -1, 1],
    ["bc", -2, 1],
    ["abcab", -3, 1],
    ["𠮷b", -6, 1],
    ["\u0000\u0000", -7, 1],
  ];
  const bytes = Uint8Array.from([
    ...pieces.flatMap(pieceField),
    ...field(2, numberField(3, 2)),
    ...field(3, [...numberField(3, 0), ...numberField(4, 0)]),
  ]);
  const sentencePiece = new SentencePiece(readSentencePieceModel(bytes));
  const ids = (text: string): number[] => sentencePiece.encode(text);
  for (let round = 0; round < 2; round++) {
    assert.deepEqual(ids("abcabc"), [3, 2, 3, 2]);
    assert.deepEqual(ids("bcbcab"), [4, 4, 3]);
    assert.deepEqual(ids("x🌸yb🌸𠮷b𠮷x"), [0, 1, 0, 6, 0]);
    assert.deepEqual(ids("\u0000\u0000b"), [7, 1]);
  }
});
