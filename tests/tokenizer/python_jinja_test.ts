/**
 * Templates by the rules of Python's Jinja: each expectation is what Jinja 3.1
 * prints for the same template.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { renderChatTemplate } from "../../lib/tokenizer/chat_template.ts";
import { clock, splitFromEnd } from "../../lib/tokenizer/python_strings.ts";

const VARIABLES = {
  text: " \ufeffa b\u00a0\n",
  list: ["b", "A", "b", 1],
  row: { items: 3, name: "x'y", some: [null, true, 1.5, "é\n\u200b"] },
};

const CASES: readonly (readonly [string, string])[] = [
  // scopes
  [
    "{% for i in [1, 2] %}{{ x }}{% set x = i %}{{ x }},{% endfor %}{{ x }}",
    "1,2,",
  ],
  [
    "{% for i in [1, 2, 3] %}{{ i }}{% if i == 2 %}{% break %}{% endif %};{% endfor %}",
    "1;2",
  ],
  [
    "{% for i in [1, 2] %}{{ i }}{% if i == 1 %}-{% continue %}{% endif %};{% endfor %}",
    "1-2;",
  ],
  [
    "{% macro m() %}{{ i }}{% endmacro %}{% for i in [1] %}[{{ m() }}]{% endfor %}",
    "[]",
  ],
  [
    "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}x{% endcall %}",
    "<x>",
  ],
  ["{% for x in missing %}x{% else %}none{% endfor %}", "none"],
  ["{% for c in 'a😀' %}{{ c }}.{% endfor %}", "a.😀."],
  [
    "{% for k in row if k != 'name' %}{{ loop.index }}{{ k }} {% endfor %}",
    "1items 2some ",
  ],
  ["{% for i in [1, 2, 3] %}{{ loop.cycle('a', 'b') }}{% endfor %}", "aba"],
  // text
  ["{{ none }} {{ true }} {{ missing }} {{ 2.0 }}", "None True  2.0"],
  ["{{ row.some }}", "[None, True, 1.5, 'é\\n\\u200b']"],
  ["{{ {'a': row.name} ~ '' }}", `{'a': "x'y"}`],
  ["{{ [] ~ none ~ false }}", "[]NoneFalse"],
  // blanks
  ["[{{ text.strip() }}]", "[\ufeffa b]"],
  ["[{{ text | trim }}]", "[\ufeffa b]"],
  ["[{{ '\\n\\n a\\n'.lstrip('\\n') }}]", "[ a\n]"],
  ["[{{ '--a-'.strip('-') }}{{ 'xaax' | trim('x') }}]", "[aaa]"],
  ["[{{ ' a\\n'.rstrip(' ') }}]", "[ a\n]"],
  [
    "{{ 'a  b c '.split() }}{{ 'a  b c '.split(none, 1) }}",
    "['a', 'b', 'c']['a', 'b c ']",
  ],
  [
    "{{ 'a,b,c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', 1) }}",
    "['a', 'b,c']['a,b', 'c']",
  ],
  // equality
  [
    "{{ 1 == '1' }} {{ '' == 0 }} {{ none == missing }} {{ true == 1 }}",
    "False False False True",
  ],
  [
    "{{ {'a': [1]} == {'a': [1]} }} {{ [1] != [2] }} {{ [1] in [[1]] }}",
    "True True True",
  ],
  [
    "{{ 'x' in missing }} {{ 'items' in row }} {{ 'b' < 'a' }}",
    "False True False",
  ],
  ["{{ -1 % 3 }} {{ 'ab' * 2 }} {{ [0] * 2 }}", "2 abab [0, 0]"],
  // members
  ["{{ row['items'] }} {{ row.items() | length }}", "3 3"],
  ["{{ '😀b'[1] }} {{ '😀b' | length }} {{ '😀b'[:1] }}", "b 2 😀"],
  [
    "{{ ', '.join(['a', 'b']) }} {{ 'aXb'.find('X') }} {{ 'aa'.count('a') }}",
    "a, b 1 2",
  ],
  [
    "{{ 'abc'.removeprefix('a').removesuffix('c') }} {{ '12'.isdigit() }}",
    "b True",
  ],
  ["{{ 'a\\nb\\r\\nc\\n'.splitlines() }}", "['a', 'b', 'c']"],
  // filters and tests
  [
    "{{ list | unique | join('/') }} {{ list | map('string') | map('upper') | join }}",
    "b/A/1 BAB1",
  ],
  [
    "{{ list | select('string') | list | length }} {{ list | reject('string') | first }}",
    "3 1",
  ],
  [
    "{{ [{'a': {'b': 1}}, {'a': 2}] | selectattr('a', 'eq', {'b': 1}) | list | length }}",
    "1",
  ],
  ["{{ [{'a': 1}, {}] | rejectattr('a', 'defined') | list }}", "[{}]"],
  ["{{ [{'a': 1}, {}] | map(attribute='a', default=0) | list }}", "[1, 0]"],
  ["{{ [{'a': 'x'}, {'a': 'y'}] | join(', ', attribute='a') }}", "x, y"],
  [
    "{{ missing | default }}{{ '' | default('e', true) }}{{ missing | d('m') }}{{ none | default('n') }}",
    "emNone",
  ],
  [
    "{{ missing | length }} {{ missing | list }} {{ missing is iterable }} {{ row is iterable }}",
    "0 [] True True",
  ],
  [
    "{{ 'aBC dEF' | capitalize }} {{ 'aBC d-eF' | title }} {{ 'abc' | reverse }}",
    "Abc def Abc D-Ef cba",
  ],
  [
    "{{ 'ab' | first }}{{ 'ab' | last }} {{ [] | first is defined }} {{ 'ab' | list }}",
    "ab False ['a', 'b']",
  ],
  [
    "{{ true is number }} {{ true is integer }} {{ 1.5 is float }} {{ none is none }}",
    "True False True True",
  ],
  // JSON
  [
    "{{ row | tojson }}",
    `{"items": 3, "name": "x'y", "some": [null, true, 1.5, "é\\n\u200b"]}`,
  ],
  [
    "{{ {'b': [], 'a': {'c': 2.0}} | tojson(indent=2, sort_keys=true) }}",
    '{\n  "a": {\n    "c": 2.0\n  },\n  "b": []\n}',
  ],
  [
    "{{ {'é': 1} | tojson(ensure_ascii=true, separators=(',', ':')) }}",
    '{"\\u00e9":1}',
  ],
  // ends of lines
  ["a\r\n{% if true %}\r\nb\r\n{% endif %}\r\nc", "a\nb\nc"],
];

for (const [template, wanted] of CASES) {
  Deno.test(`renderChatTemplate gives what Python's Jinja gives for ${JSON.stringify(template)}`, () => {
    assert.equal(
      renderChatTemplate(template, [], { variables: VARIABLES }),
      wanted,
    );
  });
}

Deno.test("strftime_now() speaks English in every locale, as Python's clock does", () => {
  const now = new Date(2024, 6, 5, 15, 4, 9);
  assert.equal(
    clock("%d %B %Y, %b %a %A %-d %e %y %j %H:%M:%S %I %p 100%%", now),
    "05 July 2024, Jul Fri Friday 5  5 24 %j 15:04:09 03 PM 100%",
  );
  assert.equal(clock("%F %T", now), "2024-07-05 15:04:09");
});

Deno.test("str.rsplit() splits from the end, with and without a separator", () => {
  assert.deepEqual(splitFromEnd(" a b  c ", null, 1), [" a b", "c"]);
  assert.deepEqual(splitFromEnd("a::b::c", "::", 1), ["a::b", "c"]);
});

Deno.test("renderChatTemplate refuses a text repeated to a great length, and a break outside a loop", () => {
  for (
    const [template, reason] of [
      ["{{ 'a' * 1000000000 }}", /more than 100000 parts/],
      ["{% break %}", /break stands outside a loop/],
      ["{% for a, b in [1] %}{% endfor %}", /2 parts to unpack/],
      ["{{ [missing] | tojson }}", /no JSON form/],
    ] as const
  ) {
    assert.throws(() => renderChatTemplate(template, []), reason);
  }
});
