/**
 * Formats made of pieces: several turns, what is trained of them, and that the
 * template spells the very ids.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import type { EncodedRow, Message } from "../../lib/data/prompt_format.ts";
import { RECIPE_TURNS } from "../../lib/data/recipe_format.ts";
import {
  turnFormat,
  type TurnFormatParts,
} from "../../lib/data/turn_format.ts";
import { chatPrompt } from "../../lib/generation/mod.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import type { EncodeOptions } from "../../lib/tokenizer/encoding.ts";
import { renderChatTemplate } from "../../lib/tokenizer/chat_template.ts";

const SIMPLE: TurnFormatParts = {
  name: "simple",
  system: ["[", { place: "content" }, "]"],
  user: ["(", { place: "content" }, ")"],
  assistant: "=",
  end: ".,",
  between: ";",
};

function says(role: string, content: string, trained = false): Message {
  return { role, content, trained };
}

const TWO_TURNS = [
  says("user", "ab"),
  says("assistant", "cd", true),
  says("user", "ef"),
  says("assistant", "gh", true),
];

/** A tokenizer without a prefix space, so that joined texts have joined ids. */
function byteLevel(): Promise<AutoTokenizer> {
  return AutoTokenizer.fromPretrained("tests/fixtures/data/byte_level");
}

async function encoded(
  parts: TurnFormatParts,
  messages: readonly Message[],
  maxSeqLength = 1000,
): Promise<EncodedRow & { readonly text: string; readonly trained: string }> {
  const tokenizer = await byteLevel();
  const format = await turnFormat(parts).create({
    tokenizer,
    eosTokenId: 1,
    system: null,
  });
  const [row] = await format.encode([{ messages }], maxSeqLength);
  return {
    ...row!,
    text: tokenizer.decode(row!.input_ids),
    trained: tokenizer.decode(row!.labels.filter((label) => label !== -100)),
  };
}

Deno.test("turnFormat() spells every turn and trains the answers with their ends, nothing between", async () => {
  const { text, trained, cut } = await encoded(SIMPLE, [
    says("system", "yz"),
    ...TWO_TURNS,
  ]);
  assert.equal(text, "[yz](ab)=cd.,;(ef)=gh.,");
  assert.equal(trained, "cd.,gh.,");
  assert.equal(cut, "nothing");
});

Deno.test("turnFormat() labels are the ids where they are trained", async () => {
  const { input_ids, labels } = await encoded(SIMPLE, TWO_TURNS);
  assert.equal(labels.length, input_ids.length);
  labels.forEach((label, at) =>
    assert(label === -100 || label === input_ids[at])
  );
});

Deno.test("turnFormat() does not train an answer that is not to be, nor what has no answer", async () => {
  const { text, trained, answerTokens } = await encoded(SIMPLE, [
    says("user", "ab"),
    says("assistant", "cd"),
    says("user", "ef"),
    says("assistant", "gh", true),
    says("user", "ij"),
  ]);
  assert.equal(text, "(ab)=cd.,;(ef)=gh.,;(ij)");
  assert.equal(trained, "gh.,");
  const [tokenizer] = [await byteLevel()];
  const ids = await tokenizer.encode("gh", { addSpecialTokens: false });
  assert.equal(answerTokens, ids.length);
});

Deno.test("turnFormat() trains the last id of each prompt where it is told to", async () => {
  const { trained } = await encoded(
    { ...SIMPLE, trainsLastPromptId: true },
    TWO_TURNS,
  );
  assert.equal(trained, "=cd.,=gh.,");
});

Deno.test("turnFormat() cuts from the right and says what the limit took", async () => {
  const whole = await encoded(SIMPLE, TWO_TURNS);
  const { length } = whole;
  const cuts: string[] = [];
  for (let limit = length; limit > 0; limit--) {
    const row = await encoded(SIMPLE, TWO_TURNS, limit);
    assert.deepEqual(row.input_ids, whole.input_ids.slice(0, limit));
    assert.deepEqual(row.labels, whole.labels.slice(0, limit));
    if (cuts.at(-1) !== row.cut) cuts.push(row.cut);
  }
  assert.deepEqual(cuts, ["nothing", "ending", "end", "answers"]);
});

Deno.test("turnFormat() refuses a role that it has no turn for", async () => {
  await assert.rejects(encoded(SIMPLE, [says("tool", "{}")]), {
    name: "InputError",
    message:
      'Cannot spell a message of role "tool": prompt format "simple" has the roles system, user and assistant',
  });
});

for (const parts of [SIMPLE, RECIPE_TURNS]) {
  for (const system of [null, "", "系统"]) {
    const kind = system === null ? "no" : system === "" ? "an empty" : "a";
    Deno.test(`${parts.name}: the template gives training's ids for several turns and ${kind} system message`, async () => {
      const tokenizer = await byteLevel();
      const format = await turnFormat(parts).create({
        tokenizer,
        eosTokenId: 1,
        system,
      });
      const { encode } = await chatPrompt(tokenizer, {
        template: format.chatTemplate,
      });
      const first = system === null ? [] : [says("system", system)];
      const [row] = await format.encode([{
        messages: [...first, ...TWO_TURNS],
      }], 1000);
      const question = TWO_TURNS.slice(0, 3);
      const prompt = await encode(question);
      assert.deepEqual(prompt, row!.input_ids.slice(0, prompt.length));
      assert.deepEqual(await encode([...first, ...question]), prompt);
      const rest = tokenizer.decode(row!.input_ids.slice(prompt.length));
      assert.equal(rest, `gh${parts.end ?? "<|end|>"}`);
    });
  }
}

/** A tokenizer of characters that adds `^` and `$` and cuts on the left. */
const LEFT = {
  bosTokenId: 94,
  eosTokenId: 36,
  encodeBatch: (
    texts: readonly string[],
    { maxLength = Infinity, addSpecialTokens = true }: EncodeOptions,
  ): Promise<number[][]> =>
    Promise.resolve(texts.map((text) => {
      const around = addSpecialTokens ? ["^", "$"] : ["", ""];
      const room = maxLength - around.join("").length;
      const kept = [...text].slice(Math.max(0, text.length - room)).join("");
      return [...around.join(kept)].map((it) => it.codePointAt(0)!);
    })),
};

/** What the tokenizer's ids of `messages` spell. */
async function leftText(
  messages: readonly Message[],
  maxSeqLength: number,
): Promise<string> {
  const format = await turnFormat({ ...SIMPLE, addsSpecialTokens: true })
    .create({ tokenizer: LEFT, eosTokenId: 1, system: null });
  const [row] = await format.encode([{ messages }], maxSeqLength);
  return String.fromCodePoint(...row!.input_ids);
}

Deno.test("turnFormat() has the tokenizer cut each prompt and each answer on its own side, before they are joined", async () => {
  const row = [says("user", "abc"), says("assistant", "0123456789", true)];
  assert.equal(await leftText(row, 6), "^bc)=$");
  const short = [says("assistant", "0123456789", true)];
  assert.equal(await leftText(short, 6), "^=$456");
});

Deno.test("turnFormat() puts the tokenizer's own ending after every prompt, as the template does", async () => {
  const text = await leftText(TWO_TURNS, 1000);
  assert.equal(text, "^(ab)=$cd.,;(ef)=$gh.,");
  const { chatTemplate } = await turnFormat({
    ...SIMPLE,
    addsSpecialTokens: true,
  })
    .create({ tokenizer: LEFT, eosTokenId: 1, system: null });
  const rendered = renderChatTemplate(chatTemplate, TWO_TURNS.slice(0, 3), {
    addGenerationPrompt: true,
    variables: { bos_token: "^", eos_token: "$" },
  });
  assert.equal(rendered, "^(ab)=$cd.,;(ef)=$");
});
