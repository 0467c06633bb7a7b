/**
 * Width, line breaks and shortening of text on a terminal.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { columnsOf, shortened, wrapped } from "../../tasks/terminal_text.ts";

Deno.test("columnsOf() counts two columns for Chinese, full width and emoji, none for marks", () => {
  assert.equal(columnsOf("abc"), 3);
  assert.equal(columnsOf("请回答：好"), 10);
  assert.equal(columnsOf("カナ한글😀"), 10);
  assert.equal(columnsOf("e\u0301\u200b"), 1);
});

Deno.test("wrapped() breaks lines between words, keeps every character but the space at a break, and fills no line beyond its width", () => {
  const text =
    "One two three 请以宫中沈婕妤的口吻回答，话要简短。请回答用户问题 " +
    "x".repeat(250);
  for (const columns of [20, 40, 80, 200]) {
    const lines = wrapped([{ text }], { columns, indent: 4 }).split("\n");
    for (const [at, line] of lines.entries()) {
      const own = at === 0 ? line : line.slice(4);
      assert.ok(at === 0 || line.startsWith("    "), line);
      assert.ok(columnsOf(own) <= columns - 4, `${columns}: ${line}`);
    }
    assert.equal(
      lines.map((line) => line.trim()).join("").replaceAll(" ", ""),
      text.replaceAll(" ", ""),
    );
    assert.equal(lines.length > 1, true);
  }
  assert.match(
    wrapped([{ text: "alpha beta gamma" }], { columns: 14, indent: 2 }),
    /^alpha beta ?\n {2}gamma$/,
  );
  // the line is full before the space
  assert.equal(
    wrapped([{ text: "alpha beta gamma" }], { columns: 12, indent: 2 }),
    "alpha beta\n  gamma",
  );
});

Deno.test("wrapped() goes on in the same line from part to part, and counts no column for styles", () => {
  const parts = [
    { text: "12345", before: "\u001b[2m", after: "\u001b[0m" },
    { text: "67890", before: "\u001b[32m", after: "\u001b[0m" },
    { text: "end" },
  ];
  assert.equal(
    wrapped(parts, { columns: 14, indent: 4 }),
    "\u001b[2m12345\u001b[0m\u001b[32m67890\u001b[0m\n    end",
  );
  assert.equal(
    wrapped([{ text: "a b".repeat(99) }], { columns: null, indent: 4 }),
    "a b".repeat(99),
  );
});

Deno.test("shortened() leaves out the middle of a text above 2,000 characters and says how much", () => {
  const short = "字".repeat(2000);
  assert.equal(shortened(short), short);
  const long = `begin${"x".repeat(10_000_000)}end`;
  const text = shortened(long);
  assert.ok(text.length < 2100);
  assert.match(text, /^begin.* … 9,998,008 characters … .*end$/);
  assert.ok(shortened("😀".repeat(3001)).isWellFormed());
  assert.ok(shortened("a" + "😀".repeat(3001)).isWellFormed());
});
