/**
 * Rows in a chat template: ids and trained tokens against transformers (made by
 * make_chat_rows.py), questions in the same words, and templates that cannot be
 * split.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { chooseFormat } from "../../lib/data/choose_format.ts";
import {
  type EncodedRow,
  type PromptFormat,
  promptFormat,
  type TrainingRow,
} from "../../lib/data/prompt_format.ts";
import { GOLDEN, TURNS, withTemplate } from "./chat_rows.ts";
import { chatPrompt } from "../../lib/generation/mod.ts";
import type { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";

Deno.test("prompt format chat gives the same labels with a tokenizer that does not tell places", async () => {
  for (const { tokenizer: name, template, row, ids, mask } of GOLDEN.rows) {
    const tokenizer = await withTemplate(
      GOLDEN.templates[template]!.plain,
      name,
    );
    const format = await promptFormat("chat", {
      tokenizer: {
        ...tokenizer,
        encodeWithOffsets: async (texts) =>
          (await tokenizer.encodeWithOffsets!(texts))
            .map((encoding) => ({ ...encoding, offsets: null })),
      },
      eosTokenId: 2,
      system: null,
    });
    const [encoded] = await format.encode([trained(row)], 1000);
    assert.deepEqual(
      encoded!.labels,
      ids.map((id, at) => mask[at] === 1 ? id : -100),
    );
  }
});

async function chatFormat(
  template: string | null,
  system: string | null = null,
): Promise<PromptFormat & { readonly own: AutoTokenizer }> {
  const tokenizer = await withTemplate(template);
  const format = await promptFormat("chat", {
    tokenizer,
    eosTokenId: 2,
    system,
  });
  return { ...format, own: tokenizer.own };
}

function trained(row: TrainingRow): TrainingRow {
  const messages = row.messages.map((message) => ({
    ...message,
    trained: message.role === "assistant",
  }));
  return { ...row, messages };
}

for (const kind of ["marked", "plain"] as const) {
  for (const name of Object.keys(GOLDEN.templates)) {
    Deno.test(`prompt format chat gives transformers' ids and assistant mask for template ${name}, ${kind}`, async () => {
      const template = GOLDEN.templates[name]![kind];
      const cases = GOLDEN.rows.filter((it) => it.template === name);
      assert(cases.length > 4);
      for (const { tokenizer, row, ids, mask } of cases) {
        const format = await promptFormat("chat", {
          tokenizer: await withTemplate(template, tokenizer),
          eosTokenId: 2,
          system: null,
        });
        const [encoded] = await format.encode([trained(row)], 1000);
        assert.deepEqual(encoded!.input_ids, ids);
        assert.deepEqual(
          encoded!.labels,
          ids.map((id, at) => mask[at] === 1 ? id : -100),
        );
        assert.equal(encoded!.cut, "nothing");
      }
    });
  }
}

Deno.test("prompt format chat stores a template that asks as transformers renders it", async () => {
  for (const { template, system, messages, text } of GOLDEN.questions) {
    const { chatTemplate, own } = await chatFormat(
      GOLDEN.templates[template]!.marked,
      system,
    );
    const prompt = await chatPrompt(own, { template: chatTemplate });
    assert.equal(prompt.text(messages), text);
  }
});

Deno.test("prompt format chat asks with the very ids that stand before a trained answer", async () => {
  for (const { marked, plain } of Object.values(GOLDEN.templates)) {
    for (const template of [marked, plain]) {
      const { chatTemplate, own, encode } = await chatFormat(template, "sys");
      const system = { role: "system", content: "sys", trained: false };
      const [row] = await encode([{ messages: [system, ...TURNS] }], 1000);
      const prompt = await chatPrompt(own, { template: chatTemplate });
      for (const count of [1, 3]) {
        const asked = await prompt.encode(TURNS.slice(0, count));
        assert.deepEqual(row!.input_ids.slice(0, asked.length), asked);
        assert.notEqual(row!.labels[asked.length], -100);
        assert.equal(row!.labels[asked.length - 1], -100);
      }
    }
  }
});

Deno.test("chatPrompt() knows the special token that ends an answer, so that chat stops there", async () => {
  const ends = async (template: string): Promise<string> => {
    const { own } = await chatFormat(template);
    const { endIds } = await chatPrompt(own, { template });
    return own.decode(endIds);
  };
  const { chatml, llama3, inst } = GOLDEN.templates;
  assert.equal(await ends(chatml!.marked), "<|im_end|>");
  assert.equal(await ends(llama3!.plain), "<|eot_id|>");
  assert.equal(await ends(inst!.marked), "<|end|>");
  assert.equal(
    await ends("{% for m in messages %}{{ m.content }}.{% endfor %}"),
    "",
  );
});

/** Ids that are trained, as text. */
function learned(own: AutoTokenizer, row: EncodedRow | undefined): string {
  return own.decode(row!.labels.filter((label) => label !== -100));
}

Deno.test("prompt format chat trains the last answer alone where only that is to be learned", async () => {
  const last = TURNS.map((it, at) => ({ ...it, trained: at === 3 }));
  for (const kind of ["marked", "plain"] as const) {
    const { own, encode } = await chatFormat(GOLDEN.templates.chatml![kind]);
    const [row] = await encode([{ messages: last }], 1000);
    assert.equal(learned(own, row), "dd<|im_end|>\n");
  }
});

Deno.test("prompt format chat trains all bytes of a last character", async () => {
  const { own, encode } = await chatFormat(
    "{% for m in messages %}{{ m.content }}{% endfor %}",
  );
  const [row] = await encode([{
    messages: [TURNS[0]!, { role: "assistant", content: "x😀", trained: true }],
  }], 1000);
  assert.equal(learned(own, row), "x😀");
});

Deno.test("prompt format chat cuts rows at the limit and says what is lost", async () => {
  const { encode } = await chatFormat(GOLDEN.templates.llama3!.plain);
  const row = { messages: TURNS.slice(0, 2) };
  const [whole] = await encode([row], 1000);
  const cut = async (limit: number): Promise<unknown[]> => {
    const [{ length, cut, answerTokens, input_ids, labels }] = await encode(
      [row],
      limit,
    ) as [EncodedRow];
    assert.equal(length, whole!.length);
    assert.equal(input_ids.length, Math.min(limit, length));
    assert.equal(labels.length, input_ids.length);
    return [cut, answerTokens];
  };
  const { length } = whole!;
  assert.deepEqual(await cut(length), ["nothing", 2]);
  assert.deepEqual(await cut(length - 1), ["ending", 2]);
  assert.deepEqual(await cut(length - 2), ["end", 1]);
  assert.deepEqual(await cut(length - 3), ["answers", 0]);
});

const EACH = "{% for m in messages %}";
const END = "{% endfor %}";
const REFUSED: readonly (readonly [string, string, string])[] = [
  [
    "spells an answer otherwise later on",
    `${EACH}{% if loop.last %}<think>{% endif %}{{ m.content }};${END}`,
    "turn 2 (assistant) does not begin where the chat template asks for it, a template with {% generation %} or another --prompt_format is needed",
  ],
  [
    "ends the last answer in another way",
    `${EACH}{{ m.content }}{% if loop.last %}</end>{% elif m.role == 'assistant' %};{% endif %}${END}`
      .replace("loop.last", "loop.last and m.role == 'assistant'"),
    "turn 2 (assistant) is spelled otherwise by the chat template once another turn follows, --train_on last or a template with {% generation %} or another --prompt_format is needed",
  ],
  [
    "has its own words where the assistant begins",
    `${EACH}{{ m.content }};${END}{% if add_generation_prompt %}<think>{% endif %}`,
    "turn 2 (assistant) does not begin where the chat template asks for it, a template with {% generation %} or another --prompt_format is needed",
  ],
  [
    "leaves answers out",
    `${EACH}{% if m.role == 'user' %}{{ m.content }};{% endif %}${END}`,
    "turn 2 (assistant) adds nothing to the text of the chat template",
  ],
  [
    "marks no answer",
    `${EACH}{% if m.role == 'nobody' %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}${END}`,
    "the chat template marks 0 turns with {% generation %}, the row has 2 of the assistant",
  ],
  [
    "raises",
    `${EACH}{{ raise_exception('no ' ~ m.role) }}${END}`,
    "cannot apply the chat template to 4 messages: no user",
  ],
];

for (const [what, template, problem] of REFUSED) {
  Deno.test(`prompt format chat refuses a template that ${what}, with row and turn`, async () => {
    const { encode } = await chatFormat(template);
    await assert.rejects(
      encode([{ messages: TURNS, place: "r.jsonl:7" }], 1000),
      {
        name: "InputError",
        message:
          `Cannot spell 1 row with the chat template: each trained turn must be found in its text\nr.jsonl:7: ${problem}`,
      },
    );
  });
}

Deno.test("prompt format chat takes a template that spells earlier answers otherwise where only the last is learned", async () => {
  const { own, encode } = await chatFormat(
    `${EACH}{{ m.content }}{% if loop.last and m.role == 'assistant' %}</end>{% endif %}${END}`,
  );
  const last = TURNS.map((it, at) => ({ ...it, trained: at === 3 }));
  const [row] = await encode([{ messages: last }], 1000);
  assert.equal(learned(own, row), "dd</end>");
});

Deno.test("prompt format chat refuses a model without a chat template", async () => {
  await assert.rejects(chatFormat(null), {
    name: "InputError",
    message:
      "Cannot use prompt format chat: the model has no chat template, another --prompt_format or chat_template.jinja in its folder is needed",
  });
});

Deno.test("chooseFormat() takes the recipe for instruction rows of a model without a template or with the recipe's, else the template", () => {
  const name = (shape: string, chatTemplate: string | null): string =>
    chooseFormat("auto", { shapes: new Set([shape]), chatTemplate }).name;
  const atom = "{{ '<s>Human: ' }}{{ '<s>Assistant: ' }}";
  const chatml = GOLDEN.templates.chatml!.marked;
  assert.equal(name("instruction", null), "recipe");
  assert.equal(name("instruction", atom), "recipe");
  assert.equal(name("instruction", chatml), "chat");
  assert.equal(name("messages", null), "recipe");
  assert.equal(name("messages", atom), "chat");
  assert.equal(name("conversations", chatml), "chat");
  assert.equal(name("prompt_completion", null), "text");
  assert.equal(name("prompt_completion", chatml), "chat");
  assert.equal(name("text", chatml), "text");
});
