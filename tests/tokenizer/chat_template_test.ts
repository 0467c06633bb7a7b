/**
 * Chat templates within bounds: what loops without end or grows without measure
 * is a sentence within seconds, and what is usual is rendered.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { InputError } from "../../lib/input_error.ts";
import { renderChatTemplate } from "../../lib/tokenizer/chat_template.ts";

const MESSAGES = [
  { role: "user", content: "你好" },
  { role: "assistant", content: "好\nb" },
];

function refusal(template: string): string {
  try {
    renderChatTemplate(template, MESSAGES, { file: "m/chat_template.jinja" });
  } catch (error) {
    assert(error instanceof InputError, `${error} is not an InputError`);
    return error.message;
  }
  throw new Error("nothing was thrown");
}

const START =
  'Cannot apply the chat template of "m/chat_template.jinja" to 2 messages: ';
const DOUBLED = (value: string): string =>
  `{% set ns = namespace(x=['ab']) %}{% for i in range(60) %}{% set ns.x = ${value} %}{% endfor %}`;
const LISTS = DOUBLED("[ns.x, ns.x]");

const TOO_LONG = "it makes a text of more than 4000000 characters";
const TOO_DEEP = "it is nested too deeply or calls itself without end";
const TOO_WIDE = "an indent is wider than 64";

const ENDLESS: readonly [string, string, string][] = [
  [
    "a range of 10 ** 9 numbers",
    "{% for i in range(10**9) %}x{% endfor %}",
    "range() of 1000000000 numbers, at most 200000 can be made",
  ],
  [
    "a text that doubles",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    TOO_LONG,
  ],
  [
    "a block that doubles",
    "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}{{ ns.x }}",
    TOO_LONG,
  ],
  ["a list of lists as output", `${LISTS}{{ ns.x }}`, TOO_LONG],
  ["a list of lists joined", `${LISTS}{{ ns.x | join }}`, TOO_LONG],
  ["a list of lists concatenated", `${LISTS}{{ 'a' ~ ns.x }}`, TOO_LONG],
  ["a list of lists as argument", `${LISTS}{{ range(ns.x) }}`, TOO_LONG],
  [
    "a mapping of mappings as JSON",
    `${DOUBLED("{'a': ns.x, 'b': ns.x}")}{{ ns.x | tojson }}`,
    TOO_LONG,
  ],
  [
    "a list that doubles",
    `${DOUBLED("ns.x + ns.x")}`,
    "it makes a list of more than 200000 entries",
  ],
  ["a wide indent", "{{ 'a\nb' | indent(500000000) }}", TOO_WIDE],
  ["a wide named indent", "{{ [1] | tojson(indent=500000000) }}", TOO_WIDE],
  ["a wide spread indent", "{{ 'a\nb' | indent(*[500000000]) }}", TOO_WIDE],
  [
    "20,000 blocks in each other",
    "{% if true %}".repeat(20_000) + "{% endif %}".repeat(20_000),
    TOO_DEEP,
  ],
  [
    "20,000 parentheses in each other",
    `{{ ${"(".repeat(20_000)}1${")".repeat(20_000)} }}`,
    TOO_DEEP,
  ],
  [
    "a namespace in itself",
    "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
    TOO_LONG,
  ],
  [
    "a template of 2 MB",
    "x".repeat(2_000_000),
    "it has 2000000 characters, at most 1000000 are read",
  ],
];

for (const [what, template, reason] of ENDLESS) {
  Deno.test(`renderChatTemplate refuses ${what}`, () => {
    const start = performance.now();
    const message = refusal(template);
    assert(performance.now() - start < 4000);
    const isDeep = message === START + TOO_DEEP && reason === TOO_LONG;
    assert(message === START + reason || isDeep, message);
  });
}

Deno.test("renderChatTemplate stops loops after five seconds", () => {
  const empty =
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
  assert.equal(
    refusal(empty),
    `${START}it is not done after 5 s, a loop may have no end`,
  );
});

Deno.test("renderChatTemplate stops macros that call themselves after five seconds", () => {
  const twice =
    "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}";
  assert.match(refusal(twice), /is not done after 5 s/);
});

Deno.test("renderChatTemplate says what a template refuses or does not have", () => {
  const cases: [string, string][] = [
    ["{{ raise_exception('no system row') }}", "no system row"],
    ["{{ foo.bar }}", "foo is undefined"],
    ["{{ messages[0].tool.name }}", "messages[…].tool is undefined"],
    ["{% if x %}", "it ends inside a block or an expression"],
    ["{{ 1 + }}", "Unexpected token: CloseExpression"],
  ];
  for (const [template, reason] of cases) {
    assert.equal(refusal(template), START + reason);
  }
});

Deno.test("renderChatTemplate gives what templates use beside messages", () => {
  const template =
    "{{ foo }}{{ messages[0].tools is defined }}{% for i in range(4, 0, -2) %}{{ i }}{% endfor %}{{ none is none and True }}{{ 'a\nb' | indent(2) }}{{ messages | length }}";
  assert.equal(
    renderChatTemplate(template, MESSAGES),
    "False42Truea\n  b2",
  );
  const year = renderChatTemplate("{{ strftime_now('%Y') }}", MESSAGES);
  assert.match(year, /^\d{4}$/);
});

Deno.test("renderChatTemplate renders or refuses 500 mutants of a template", () => {
  const template = Deno.readTextFileSync(
    "tests/fixtures/data/metaspace/chat_template.jinja",
  );
  for (let seed = 1; seed <= 500; seed++) {
    const at = (seed * 7919) % template.length;
    const part = template.slice(at, at + seed % 9);
    const changed = seed % 2 === 0
      ? template.slice(0, at) + template.slice(at + 1 + seed % 5)
      : template.slice(0, at) + part + part + template.slice(at);
    try {
      renderChatTemplate(changed, MESSAGES);
    } catch (error) {
      assert(error instanceof InputError, `${seed}: ${error}`);
    }
  }
});
