/**
 * Conversation: what is remembered, forgotten, seeded and stopped.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import {
  type ChatPrompt,
  Conversation,
  generate,
  type GenerateOptions,
} from "../../lib/generation/mod.ts";
import { getPeftModel } from "../../lib/peft/mod.ts";
import { aten, manualSeed } from "../../lib/tensor/mod.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import type { ChatMessage } from "../../lib/tokenizer/chat_template.ts";

const MODEL = "models/tiny-atom";

/** A prompt that writes down which messages it was asked for. */
function recordingPrompt(
  tokenizer: AutoTokenizer,
  keepsHistory: boolean,
): ChatPrompt & { readonly asked: string[][] } {
  const asked: string[][] = [];
  const text = (messages: readonly ChatMessage[]): string =>
    messages.map(({ content }) => content).join("");
  return {
    source: "model",
    endIds: [],
    keepsHistory,
    asked,
    text,
    encode(messages): Promise<number[]> {
      asked.push(messages.map(({ content }) => content));
      return tokenizer.encode(text(messages));
    },
  };
}

async function held(
  options: GenerateOptions,
  use: (
    conversation: Conversation,
    asked: readonly string[][],
  ) => Promise<void>,
  keepsHistory = true,
): Promise<void> {
  const tokenizer = await AutoTokenizer.fromPretrained(MODEL);
  using model = AutoModelForCausalLM.fromPretrained(MODEL);
  const prompt = recordingPrompt(tokenizer, keepsHistory);
  await use(
    new Conversation({ model, tokenizer, prompt, options }),
    prompt.asked,
  );
}

async function whole(pieces: AsyncIterable<string>): Promise<string> {
  return (await Array.fromAsync(pieces)).join("");
}

Deno.test("Conversation.ask() puts earlier questions and answers before a question, until reset()", async () => {
  await held({ maxNewTokens: 4 }, async (conversation, asked) => {
    const first = await whole(conversation.ask("一"));
    await whole(conversation.ask("二"));
    assert.deepEqual(asked, [["一"], ["一", first, "二"]]);
    conversation.reset();
    await whole(conversation.ask("三"));
    assert.deepEqual(asked[2], ["三"]);
  });
});

Deno.test("Conversation.ask() asks each question by itself where the prompt keeps no history", async () => {
  await held({ maxNewTokens: 4 }, async (conversation, asked) => {
    await whole(conversation.ask("一"));
    await whole(conversation.ask("二"));
    assert.deepEqual(asked, [["一"], ["二"]]);
  }, false);
});

Deno.test("Conversation.ask() forgets the oldest turns that would not fit the model's positions", async () => {
  await held({ maxNewTokens: 8 }, async (conversation, asked) => {
    const long = "龘".repeat(150);
    await whole(conversation.ask(long));
    const second = await whole(conversation.ask("二"));
    await whole(conversation.ask("龘".repeat(30)));
    assert.deepEqual(asked.at(-1), ["二", second, "龘".repeat(30)]);
  });
});

Deno.test("Conversation.ask() leaves room for the answer among the model's positions", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(MODEL);
  using model = AutoModelForCausalLM.fromPretrained(MODEL);
  const lengths: number[] = [];
  const prompt: ChatPrompt = {
    ...recordingPrompt(tokenizer, true),
    encode(messages): Promise<number[]> {
      lengths.push(messages.length);
      return Promise.resolve(Array(messages.length * 160).fill(300));
    },
  };
  const options = { maxNewTokens: 100 };
  const conversation = new Conversation({ model, tokenizer, prompt, options });
  await whole(conversation.ask("一"));
  await whole(conversation.ask("二"));
  // 480 ids fit into 512 positions, but not with 100 more
  assert.deepEqual(lengths, [1, 3, 1]);
});

Deno.test("Conversation.ask() gives and remembers an unfinished character at the end of an answer", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained(MODEL);
  using model = AutoModelForCausalLM.fromPretrained(MODEL);
  const prompt = recordingPrompt(tokenizer, true);
  // every token is the first byte of a character of three
  const bytes = {
    tokensOf: (ids: readonly number[]) => ids.map(() => "<0xE4>"),
    decodeTokens: (tokens: readonly string[]) => tokenizer.decodeTokens(tokens),
  };
  const conversation = new Conversation({
    model,
    tokenizer: bytes,
    prompt,
    options: { maxNewTokens: 2, eosTokenIds: [] },
  });
  assert.equal(await whole(conversation.ask("一")), "\uFFFD\uFFFD");
  await whole(conversation.ask("二"));
  assert.deepEqual(prompt.asked[1], ["一", "\uFFFD\uFFFD", "二"]);
});

Deno.test("Conversation.ask() seeds once: a second answer is another draw", async () => {
  const options = { maxNewTokens: 12, doSample: true, temperature: 5, seed: 3 };
  const answers: string[] = [];
  for (let run = 0; run < 2; run++) {
    await held(options, async (conversation) => {
      answers.push(await whole(conversation.ask("一")));
      answers.push(await whole(conversation.ask("一")));
    }, false);
  }
  assert.deepEqual(answers.slice(0, 2), answers.slice(2));
  assert.notEqual(answers[0], answers[1]);
});

Deno.test("Conversation.ask() stopped by its signal keeps what was said", async () => {
  await held({ eosTokenIds: [] }, async (conversation, asked) => {
    const controller = new AbortController();
    const pieces: string[] = [];
    for await (const piece of conversation.ask("一", controller.signal)) {
      pieces.push(piece);
      controller.abort();
    }
    const [said] = pieces;
    assert.equal(pieces.length, 1);
    await whole(conversation.ask("二", controller.signal));
    assert.deepEqual(asked[1], ["一", said, "二"]);
  });
});

Deno.test("generate() takes an adapted model and answers with its adapter", () => {
  using base = AutoModelForCausalLM.fromPretrained(MODEL);
  const ids = [1, 1, 300, 301];
  const bare = [...generate(base, ids, { maxNewTokens: 8 })];
  using adapted = getPeftModel(base, { r: 2, target_modules: ["q_proj"] }, {
    seed: 1,
  });
  manualSeed(2);
  for (const { path, tensor } of adapted.trainedParameters()) {
    if (path.includes("lora_B")) aten.normal_(tensor, 0, 5);
  }
  const answer = [...generate(adapted, ids, { maxNewTokens: 8 })];
  assert.deepEqual(answer, [...generate(base, ids, { maxNewTokens: 8 })]);
  assert.notDeepEqual(answer, bare);
});
