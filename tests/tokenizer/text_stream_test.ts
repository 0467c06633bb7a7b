/**
 * TextStream: what it gives adds up to the whole text, character by character.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { TextStream } from "../../lib/tokenizer/text_stream.ts";

const TEXTS = [
  "你好，娘娘",
  "生僻字𠮷龘，表情🌸🌸呢",
  "hello the  answer 🌸 x",
  "  two spaces",
  "",
];

for (const name of ["legacy", "metaspace", "backend", "byte_level"]) {
  Deno.test(`TextStream gives decode()'s text in whole characters for ${name}`, async () => {
    const tokenizer = await AutoTokenizer.fromPretrained(
      `tests/fixtures/data/${name}`,
    );
    for (const text of TEXTS) {
      const ids = await tokenizer.encode(text);
      const stream = new TextStream(tokenizer);
      const parts = [...ids.map((id) => stream.push(id)), stream.end()];
      assert.equal(
        parts.join(""),
        tokenizer.decode(ids, { skipSpecialTokens: true }),
      );
      assert(
        parts.every((part) => part.isWellFormed() && !/\uFFFD/.test(part)),
      );
    }
  });
}

Deno.test("TextStream gives each character as soon as its bytes are there", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/legacy",
  );
  const ids = await tokenizer.encode("🌸🌸", { addSpecialTokens: false });
  const stream = new TextStream(tokenizer);
  const parts = ids.map((id) => stream.push(id));
  assert.deepEqual(parts, ["", "", "", "", "🌸", "", "", "", "🌸"]);
});

Deno.test("TextStream.end() marks a character that was never finished", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/legacy",
  );
  const ids = await tokenizer.encode("好🌸", { addSpecialTokens: false });
  const stream = new TextStream(tokenizer);
  const parts = ids.slice(0, -1).map((id) => stream.push(id));
  assert.equal(parts.join(""), "好");
  assert.equal(stream.end(), "\uFFFD\uFFFD\uFFFD");
});

Deno.test("TextStream shows special tokens when asked to", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(
    "tests/fixtures/data/legacy",
  );
  const stream = new TextStream(tokenizer, { skipSpecialTokens: false });
  assert.equal(stream.push(1) + stream.push(2), "<s></s>");
});
