/**
 * The named prompt formats: what stands before an answer, with a system message
 * and after an earlier turn, is what the recipe's collection trains with.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { parseTrainArguments } from "../../lib/arguments/train_arguments.ts";
import { NAMED_FORMAT_PARTS } from "../../lib/data/named_formats.ts";
import {
  promptFormat,
  promptFormatNames,
} from "../../lib/data/prompt_format.ts";
import { promptText } from "../../lib/data/turn_format.ts";
import { renderChatTemplate } from "../../lib/tokenizer/chat_template.ts";
import { withTemplate } from "./chat_rows.ts";

const HEADER = (role: string): string =>
  `<|start_header_id|>${role}<|end_header_id|>\n\n`;

/** The text before an answer to Q with the system message S. */
const WITH_SYSTEM: Readonly<Record<string, string>> = {
  text: "SQ",
  chatml:
    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
  qwen:
    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|><|im_start|>assistant\n",
  yi:
    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|><|im_start|>assistant\n",
  internlm:
    "<s><|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
  qwen3:
    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
  hunyuan:
    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
  atom: "<s>Human: SQ\n</s><s>Assistant: ",
  baichuan2:
    "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n\nAssistant: ",
  bluelm: "[|Human|]:S\n\n Q[|AI|]:",
  characterglm: "[gMASK]sop用户:\nSQCharacterGLM-6B:\n:",
  chatglm3: "[gMASK]sop<|system|>\nS\n<|user|>\nQ<|assistant|>\n",
  deepseek: "S\n\nUser: Q\n\nAssistant: ",
  "deepseek-coder": "S\nUser: Q\nAssistant: ",
  ernie: "<|begin_of_sentence|>S\nUser: Q\nAssistant: ",
  gemma: "<bos><start_of_turn>user\nSQ<end_of_turn>\n<start_of_turn>model\n",
  glm4: "[gMASK]<sop><|system|>\nS<|user|>\nQ<|assistant|>\n",
  "glm4.7":
    "[gMASK]<sop><|system|>\nS<|user|>\nQ<|assistant|>\n<think></think>\n",
  index: "<unk>systemSreserved_0userQreserved_1assistant",
  llama3: `<|begin_of_text|>${HEADER("system")}S<|eot_id|>${
    HEADER("user")
  }Q<|eot_id|>${HEADER("assistant")}`,
  "llama3.1": `<|begin_of_text|>${
    HEADER("system")
  }Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\nS<|eot_id|>${
    HEADER("user")
  }Q<|eot_id|>${HEADER("assistant")}`,
  minicpm: "<用户>SQ<AI>",
  openelm: "SQ<sep>",
  phi3: "<|system|>\nS<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>\n",
  xverse: "Human:S\n\n QAssistant:",
  yuan: "SQ<sep>",
};

for (const parts of NAMED_FORMAT_PARTS) {
  Deno.test(`named format ${parts.name} asks with the text of the recipe's collection`, () => {
    const asked = promptText(parts, [
      { role: "system", content: "S" },
      { role: "user", content: "Q" },
    ]);
    assert.equal(asked, WITH_SYSTEM[parts.name]);
  });
}

Deno.test("the stored template of a named format asks with the text of training, with a system message and without", async () => {
  const tokenizer = await withTemplate(null, "chat_legacy");
  const options = { tokenizer, eosTokenId: 2, system: null };
  const variables = tokenizer.specialTokens ?? {};
  const turns = [
    { role: "user", content: "Q" },
    { role: "assistant", content: "A" },
    { role: "user", content: "R" },
  ];
  const asked = [turns.slice(0, 1), turns].flatMap((messages) => [
    messages,
    [{ role: "system", content: "S" }, ...messages],
  ]);
  const withoutTokens = NAMED_FORMAT_PARTS.filter((parts) =>
    (parts.needsTokens ?? []).length === 0
  );
  assert(withoutTokens.length > 10);
  for (const parts of withoutTokens) {
    const { chatTemplate } = await promptFormat(parts.name, options);
    for (const messages of asked) {
      const text = renderChatTemplate(chatTemplate, messages, {
        variables,
        addGenerationPrompt: true,
      });
      // promptText() begins after the last answer
      const wanted = promptText(parts, messages);
      assert(text.endsWith(wanted), `${parts.name}: ${text} | ${wanted}`);
    }
  }
});

Deno.test("every named format can be chosen and is named by --help", () => {
  const names = NAMED_FORMAT_PARTS.map(({ name }) => name);
  assert.deepEqual(names.toSorted(), Object.keys(WITH_SYSTEM).toSorted());
  assert.equal(new Set(names).size, names.length);
  const parsed = parseTrainArguments(["--help"], {
    promptFormats: promptFormatNames(),
  });
  assert("help" in parsed);
  for (const name of names) {
    assert(promptFormatNames().includes(name), name);
    assert.match(
      parsed.help,
      new RegExp(`[\\s,|{]${name.replace(".", "\\.")}[\\s,|}.]`),
      name,
    );
  }
});
