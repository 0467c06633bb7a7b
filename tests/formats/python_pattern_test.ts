/**
 * Python's regular expressions: what matches, what is refused, and that none runs
 * for ever. `tests/fixtures/make_formats.py` makes the golden matches.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { PythonPattern } from "../../lib/formats/python_pattern.ts";

interface Golden {
  readonly texts: readonly string[];
  /** For each expression: the texts that it matches as a whole, or Python's error. */
  readonly patterns: Readonly<Record<string, readonly number[] | string>>;
}

const GOLDEN: Golden = JSON.parse(
  Deno.readTextFileSync("tests/fixtures/formats/python_patterns.json"),
);

/** Expressions of Python that this reader refuses. */
const REFUSED = /\\[1-9N]|\(\?P=|\(\?\(|\(\?>|[*+?}]\+|\(\?[axL]/;

Deno.test("PythonPattern.fullMatch() matches what Python's re.fullmatch matches", () => {
  for (const [source, expected] of Object.entries(GOLDEN.patterns)) {
    if (typeof expected === "string") {
      assert.throws(() => new PythonPattern(source), SyntaxError, source);
    } else if (REFUSED.test(source)) {
      assert.throws(() => new PythonPattern(source), SyntaxError, source);
    } else {
      const pattern = new PythonPattern(source);
      const found = [...GOLDEN.texts.keys()].filter((index) =>
        pattern.fullMatch(GOLDEN.texts[index]!)
      );
      assert.deepEqual(found, expected, source);
    }
  }
});

Deno.test("PythonPattern says what is wrong with an expression and where", () => {
  const cases: Record<string, string> = {
    "(": "missing ) at character 2",
    "a)": "unbalanced ) at character 2",
    "*a": "nothing to repeat at character 1",
    "a**": "multiple repeat at character 4",
    "[a": "a set of characters without an end at character 4",
    "\\q": "bad escape \\q at character 3",
    "(a)\\1": "a reference to a group, which is not supported, at character 6",
    "(?>a)": '"(?>", which is not supported, at character 4',
    "a++": "a possessive repeat, not supported, at character 4",
    "(?x)a": "the flag x, which is not supported, stands at character 1",
    "a(?i)": '"(?i)", which is not supported, at character 6',
    "x{3,2}": "a smallest count above the largest at character 7",
  };
  for (const [source, message] of Object.entries(cases)) {
    assert.throws(() => new PythonPattern(source), {
      name: "SyntaxError",
      message,
    }, source);
  }
  assert.throws(
    () => new PythonPattern("(".repeat(20_000)),
    /groups nested too deeply/,
  );
  assert.throws(
    () => new PythonPattern("a".repeat(200_000)),
    /more than 100000 characters/,
  );
});

Deno.test("PythonPattern ends on expressions that a backtracking engine never ends on", () => {
  const path = `model.layers.0.${"a".repeat(60)}!`;
  const started = performance.now();
  for (
    const source of [
      "(.*)+x",
      "(a+)+$",
      "(.|a|[a-z])*b",
      "((((.+)+)+)+)+x",
      "(?:.*.*.*.*.*.*.*)x",
      "(?=(.*)+x)x",
      "(?:.{0,60}){60}x",
    ]
  ) {
    assert.equal(new PythonPattern(source).fullMatch(path), false, source);
  }
  assert(performance.now() - started < 2000);
  assert.throws(
    () =>
      new PythonPattern("(?:(?=(?:(?=(?:(?=.*x|.).)*).)*).)*x").fullMatch(
        "a".repeat(300),
      ),
    /^RangeError: it takes too many steps/,
  );
});

Deno.test("PythonPattern takes so many steps in all, however many names it is asked about", () => {
  const pattern = new PythonPattern("(?:(?=(?:(?=(?:.*x|.)*).)*).)*x");
  const name = "a".repeat(42);
  assert.equal(pattern.fullMatch(name), false);
  assert.throws(() => {
    for (let count = 0; count < 1000; count++) pattern.fullMatch(name);
  }, /^RangeError: it takes too many steps/);
});

Deno.test("PythonPattern.matchesTail() begins after any dot", () => {
  const tail = (source: string, path: string): boolean =>
    new PythonPattern(source).matchesTail(path);
  assert(tail("q_proj", "model.layers.0.q_proj"));
  assert(tail("q_proj", "q_proj"));
  assert(!tail("proj", "model.q_proj"));
  assert(!tail("q_proj", "model.q_proj.x"));
  assert(tail("^model\\.q_proj$", "model.q_proj"));
  assert(tail("a|q_proj", "model.q_proj"));
  const names = ["a.b_c", "a\\.b_c", "b_c", "c", "x.c", "..c", "a.b.c", "a_b"];
  for (const name of names) {
    const [plain, grouped] = [name, `(?:${name})`]
      .map((source) => new PythonPattern(source));
    assert(plain!.isPlain && !grouped!.isPlain);
    for (
      const path of ["a.b_c", "x.a.b_c", "axb_c", "b_c", "c", "ab.c", "x.c"]
    ) {
      assert.equal(
        plain!.matchesTail(path),
        grouped!.matchesTail(path),
        `${name} on ${path}`,
      );
    }
  }
});

Deno.test("PythonPattern.listIndex() finds the first number after a list's name", () => {
  const index = (source: string, path: string): number | undefined =>
    new PythonPattern(source).listIndex(path);
  assert.equal(index("layers", "model.layers.12.mlp.experts.3.w1"), 12);
  assert.equal(index("experts", "model.layers.12.mlp.experts.3.w1"), 3);
  assert.equal(index("layers", "layers.4.x"), 4);
  assert.equal(index("h|layers", "model.h.7.x"), 7);
  assert.equal(index("(layers)", "model.layers.5.x"), 5);
  assert.equal(index("layer", "model.layers.5.x"), undefined);
  assert.equal(index("layers", "model.layers.5"), undefined);
});
