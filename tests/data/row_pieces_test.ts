/**
 * Rows read piece by piece: wherever a text is cut, the rows and what is wrong with
 * them are the same; packed files; and how much memory reading takes.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { Buffer } from "node:buffer";
import { gzipSync } from "node:zlib";
import { csvRows } from "../../lib/data/csv_rows.ts";
import { jsonRows } from "../../lib/data/json_rows.ts";
import { readExamples } from "../../lib/data/read_examples.ts";
import {
  lineBlocks,
  type Located,
  LONGEST_ROW,
  Problems,
} from "../../lib/data/row_text.ts";
import { seeded } from "../formats/temporary.ts";
import { damaged } from "./damaged.ts";
import { problems, withFile } from "./row_files.ts";

const ROW = '{"text":"a\\\\\\" [,]{}\\u00e9 问"}';
const JSON_TEXTS = [
  `${ROW}\n\r\n${ROW}\r${ROW}\r\n`,
  `[${ROW},\n\n ${ROW.replaceAll(",", ",\n")}\r\n, ${ROW} ]\n`,
  ` [${ROW}, ${ROW}]`,
  `[1, "b"]\n${ROW}\n[]`,
  `\n[[1],[2]]\n\n`,
  "[]",
  `{"text":\n"a"}`,
];
const CSV_TEXTS = [
  'text,"b ""c"""\r\n"x\r\n""y""\n,z",1\r\n\r\n2,"3"\r\n',
  'text\n"a\nb"\nc\n\n"d"',
  "text\rc\rd",
];

/** `text` in pieces of one to five characters. */
function* cut(text: string, random: Iterator<number>): Generator<string> {
  for (let at = 0; at < text.length;) {
    const end = at + 1 + Math.floor(5 * random.next().value!);
    yield text.slice(at, end);
    at = end;
  }
  yield "";
}

type Reader = (
  pieces: () => Iterable<string>,
  problems: Problems,
) => Iterable<Located>;

/** All that is read, and all that is wrong. */
function outcome(read: Reader, pieces: () => Iterable<string>): unknown {
  const found = new Problems();
  const rows = [...read(pieces, found)];
  const wrong = found.first(100).map(({ what }) => what);
  // a file with problems gives no rows
  return wrong.length > 0 ? { wrong } : { rows: structuredClone(rows) };
}

const READERS: readonly (readonly [string, readonly string[], Reader])[] = [
  ["jsonRows", JSON_TEXTS, jsonRows],
  ["csvRows", CSV_TEXTS, (pieces, found) => csvRows(pieces(), found, 1)],
];

for (const [name, texts, read] of READERS) {
  Deno.test(`${name}() reads the same wherever 2,000 damaged texts are cut`, () => {
    const random = seeded(3);
    let withRows = 0;
    for (let index = 0; index < 2000; index++) {
      const text = texts[index % texts.length]!;
      const bytes = index < texts.length
        ? new TextEncoder().encode(text)
        : damaged(new TextEncoder().encode(text), random);
      const used = new TextDecoder().decode(bytes);
      const whole = outcome(
        name === "csvRows" ? (pieces, it) => csvRows(pieces(), it) : read,
        () => [used],
      );
      const pieces = [...cut(used, random)];
      assert.deepEqual(outcome(read, () => pieces), whole, used);
      withRows += ((whole as { rows?: unknown[] }).rows?.length ?? 0) > 0
        ? 1
        : 0;
    }
    assert(withRows > 100, `${withRows}`);
  });
}

Deno.test("jsonRows() says where an array breaks off, in all of a file", () => {
  const wrong = (text: string): unknown => {
    const found = new Problems();
    assert([...jsonRows(() => [text], found)].length < 3);
    return found.first(9).map(({ line, column, what }) =>
      `${line}:${column}: ${what.replace("the line is not JSON, ", "")}`
    );
  };
  const cases = {
    '[{"a":1},\n  {"a" 2}]': "2:8: expected ':' after property name",
    '[{"a":1},\n  {"a":1]': "2:9: expected ',' or '}' after property value",
    '[{"a":1},\n]': "2:1: unexpected token ']'",
    "[1,,2]": "1:4: unexpected token ','",
    "[1,\n2] 3": "2:4: unexpected non-whitespace character after JSON",
    '[1,\n"a': "2:3: unterminated string",
    "[1,\n2 \n\n": "2:2: unexpected end of JSON input",
  };
  for (const [text, said] of Object.entries(cases)) {
    const [first, ...more] = wrong(text) as string[];
    assert.deepEqual([first, more], [said, []], text);
  }
});

Deno.test("lineBlocks() refuses a line longer than a row may be", () => {
  const found = new Problems();
  const piece = "x".repeat(2 ** 24);
  const pieces = ["a\n", ...new Array(LONGEST_ROW / 2 ** 24).fill(piece), "x"];
  assert.deepEqual([...lineBlocks(pieces, found)], [{ line: 1, lines: ["a"] }]);
  assert.deepEqual(found.first(2), [{
    line: 2,
    what: "the row has more than 67108864 characters, split it",
  }]);
});

Deno.test("readExamples() refuses more rows than fit in memory", () => {
  withFile("r.jsonl", '{"text":"a"}\n'.repeat(4), (path) => {
    assert.equal(readExamples(path, { mostRows: 4 }).length, 4);
    assert.throws(() => readExamples(path, { mostRows: 3 }), {
      name: "InputError",
      message: `Cannot read "${path}": it has more than 3 rows, split it`,
    });
  });
});

Deno.test("readExamples() counts no more than 100,000 problems of a file", () => {
  const [first] = withFile("r.jsonl", "x\n".repeat(150_000), (path) => {
    try {
      return [readExamples(path)];
    } catch (error) {
      return (error as Error).message.split("\n");
    }
  });
  assert.match(String(first), /: 100000 problems and perhaps more, every/);
});

Deno.test("readExamples() unpacks a file of several gzip members, wherever one ends", () => {
  const lines = [1, 2].map((at) => `{"text":"${at}"}\n`);
  const [one, two] = lines.map((line) => gzipSync(line)) as [Buffer, Buffer];
  // a file name in the header gives the member any length
  const chunk = 2 ** 15;
  const named = Buffer.concat([
    one.subarray(0, 10).fill(8, 3, 4),
    Buffer.alloc(chunk - one.length - 1, "n"),
    Buffer.alloc(1),
    one.subarray(10),
  ]);
  assert.equal(named.length, chunk);
  for (const file of [[gzipSync(lines[0]!), two], [named, two]]) {
    const bytes = Uint8Array.from(Buffer.concat(file));
    withFile(
      "r.jsonl.gz",
      bytes,
      (path) =>
        assert.deepEqual(
          readExamples(path).map(({ messages: [it] }) => it!.content),
          ["1", "2"],
        ),
    );
  }
});

Deno.test("readExamples() sees a changed byte in a gzip file's checksum", () => {
  const bytes = Uint8Array.from(gzipSync('{"text":"a"}\n'));
  bytes[bytes.length - 8]! ^= 1;
  withFile(
    "r.jsonl.gz",
    bytes,
    (path) => assert.throws(() => readExamples(path), /not a whole gzip file/),
  );
});

Deno.test("readExamples() refuses a small gzip file that unpacks to very much", () => {
  const bytes = Uint8Array.from(gzipSync(Buffer.alloc(70 * 2 ** 20, "\n")));
  withFile(
    "r.jsonl.gz",
    bytes,
    (path) =>
      assert.throws(() => readExamples(path), {
        name: "InputError",
        message:
          `Cannot read "${path}": it unpacks to more than 67108864 bytes, unpack it or split it`,
      }),
  );
});

/** By how many bytes the peak of a process grows while it reads a file. */
function growth(path: string): number {
  const root = new URL("../../", import.meta.url).href;
  const code = `
    import { readExamples } from "${root}lib/data/read_examples.ts";
    const peak = () =>
      1024 * /VmHWM:\\s+(\\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))[1];
    Deno.writeTextFileSync(Deno.args[0] + ".small.jsonl", '{"text":"a"}');
    readExamples(Deno.args[0] + ".small.jsonl");
    const before = peak();
    readExamples(Deno.args[0]);
    console.log(peak() - before);`;
  Deno.writeTextFileSync(`${path}.ts`, code);
  const { stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["run", "-q", "-A", "--no-check", `${path}.ts`, path],
    cwd: new URL("../../", import.meta.url),
  }).outputSync();
  assert.equal(new TextDecoder().decode(stderr), "");
  return Number(new TextDecoder().decode(stdout));
}

Deno.test({
  name: "readExamples() grows by less than twice the file",
  ignore: Deno.build.os !== "linux",
  fn: () => {
    const row = (at: number): string =>
      JSON.stringify({ text: `${at}${"的一是在不了有和人这".repeat(60)}` });
    const rows = Array.from({ length: 40_000 }, (_, at) => row(at));
    const files = { "r.jsonl": rows.join("\n"), "r.json": `[${rows}]` };
    for (const [name, text] of Object.entries(files)) {
      withFile(name, text, (path) => {
        const { size } = Deno.statSync(path);
        const grown = growth(path);
        assert(grown < 2 * size, `${name}: ${grown} of ${size}`);
      });
    }
  },
});

Deno.test("readExamples() says in which line of a CSV file of several blocks a cell is wrong", () => {
  const cell = `"${"x,\n".repeat(30_000)}"\n`;
  const lines = problems("r.csv", `text\n${cell.repeat(8)}a"b\n`);
  assert.match(
    lines[0]!,
    /^240010: the line is not CSV, a quote stands inside/,
  );
});
