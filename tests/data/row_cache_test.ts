/**
 * Encoded rows kept between runs: the same features, never those of other rows or
 * settings, damaged files made anew, a bounded folder.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  type Dataset,
  type DatasetOptions,
  loadDataset,
  modelFilesKey,
  registerPromptFormat,
  type RowCache,
  turnFormat,
} from "../../lib/data/mod.ts";
import { codeKey, rowsKey } from "../../lib/data/row_cache_key.ts";
import { GOLDEN, withTemplate } from "./chat_rows.ts";

const MARKED = GOLDEN.templates.chatml!.marked;
const ROWS = [1, 2, 3].map((at) => ({
  instruction: "say",
  input: `q${at} 你好`,
  output: at === 2 ? "" : `a${at} ${"x".repeat(at)}`,
}));

interface Place {
  readonly folder: string;
  readonly load: (
    options?: Partial<DatasetOptions>,
    cache?: Partial<RowCache>,
  ) => Promise<Dataset>;
  readonly write: (rows: readonly unknown[], name?: string) => string;
  readonly entries: () => string[];
}

async function inFolder(use: (place: Place) => Promise<void>): Promise<void> {
  const folder = Deno.makeTempDirSync();
  const write = (rows: readonly unknown[], name = "rows.jsonl"): string => {
    const path = `${folder}/${name}`;
    const lines = rows.map((row) => JSON.stringify(row));
    Deno.writeTextFileSync(path, lines.join("\n"));
    return path;
  };
  const path = write(ROWS);
  try {
    await use({
      folder,
      write,
      entries: () =>
        [...Deno.readDirSync(`${folder}/kept`)].map(({ name }) => name),
      load: async (options = {}, cache = {}) => {
        const tokenizer = await withTemplate(MARKED);
        return await loadDataset(path, {
          tokenizer,
          config: { eos_token_id: tokenizer.eosTokenId! },
          maxSeqLength: 50,
          cache: {
            folder: `${folder}/kept`,
            tokenizerKey: "T",
            leastRows: 1,
            ...cache,
          },
          ...options,
        });
      },
    });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

const isKept = ({ description }: Dataset): boolean =>
  description.endsWith("; tokenised in an earlier run");

/** All that training takes of a dataset. */
const content = ({ features, preflight, question, promptFormat }: Dataset) => ({
  rows: features.map(({ input_ids, labels }) => ({ input_ids, labels })),
  preflight,
  question,
  format: [promptFormat.name, promptFormat.chatTemplate],
});

Deno.test("loadDataset() gives the same rows, counts, question and format from the cache", async () => {
  await inFolder(async ({ load }) => {
    for (
      const options of [
        {},
        { maxSeqLength: 44 },
        { maxSeqLength: 45, skipOverlength: true },
        { promptFormat: "recipe", maxSeqLength: 70 },
        { trainOn: "everything" as const },
        { weights: [2.5] },
      ]
    ) {
      const plain = await load({ ...options, cache: null });
      const first = await load(options);
      const second = await load(options);
      assert(isKept(second));
      assert.deepEqual(content(first), content(plain));
      assert.deepEqual(content(second), content(plain));
    }
  });
});

Deno.test("loadDataset() keeps rows under another key for any other row, tokenizer, template, format and setting", async () => {
  await inFolder(async ({ load, write, entries }) => {
    assert(!isKept(await load()));
    const tokenizer = await withTemplate(`${MARKED} `);
    for (
      const [options, cache] of [
        [{ maxSeqLength: 49 }],
        [{ trainOn: "last" }],
        [{ promptFormat: "recipe", maxSeqLength: 70 }],
        [{ promptFormat: "chat" }],
        [{ shape: "instruction" }],
        [{ config: { eos_token_id: 3 } }],
        [{ tokenizer }],
        [{
          storedFormat: { name: "recipe", folder: "A" },
          maxSeqLength: 70,
        }],
        [{}, { tokenizerKey: "U" }],
        [{}, { overwrite: true }],
      ] as [Partial<DatasetOptions>, Partial<RowCache>?][]
    ) assert(!isKept(await load(options, cache)), JSON.stringify(options));
    assert.equal(entries().length, 10);
    assert(isKept(await load()));
    write([...ROWS.slice(0, 2), { ...ROWS[2], output: "a3 xxy" }]);
    assert(!isKept(await load()));
    write(ROWS);
    assert(isKept(await load()));
  });
});

Deno.test("loadDataset() ignores a damaged or cut cache file and writes it anew, and ends no run where it cannot write", async () => {
  await inFolder(async ({ folder, load, entries }) => {
    const plain = content(await load());
    const path = `${folder}/kept/${entries()[0]}`;
    const bytes = Deno.readFileSync(path);
    const places = Array.from(
      { length: 60 },
      (_, at) => Math.floor(at * (bytes.length - 1) / 59),
    );
    for (const at of places) {
      const damaged = bytes.slice();
      damaged[at]! ^= 1;
      for (const content of [damaged, bytes.slice(0, at)]) {
        Deno.writeFileSync(path, content);
        assert(!isKept(await load({ maxSeqLength: 50 })), `${at}`);
      }
      assert.deepEqual(Deno.readFileSync(path), bytes);
    }
    Deno.removeSync(`${folder}/kept`, { recursive: true });
    Deno.writeTextFileSync(`${folder}/kept`, "a file in the way");
    assert.deepEqual(content(await load()), plain);
    assert(!isKept(await load()));
  });
});

Deno.test("loadDataset() removes the entries that were not used for longest, and what a run that ended early left", async () => {
  await inFolder(async ({ folder, load, entries }) => {
    const at = async (maxSeqLength: number, mostBytes?: number) =>
      isKept(await load({ maxSeqLength }, mostBytes ? { mostBytes } : {}));
    await at(50);
    const { size } = Deno.statSync(`${folder}/kept/${entries()[0]}`);
    const old = new Date(Date.now() - 7_200_000);
    Deno.utimeSync(`${folder}/kept/${entries()[0]}`, old, old);
    Deno.writeTextFileSync(`${folder}/kept/a.partial`, "x");
    Deno.utimeSync(`${folder}/kept/a.partial`, old, old);
    Deno.writeTextFileSync(`${folder}/kept/other`, "not ours");
    await at(49);
    // the first one is used, so the second one goes
    const second = entries().filter((name) => name.endsWith(".rows"));
    assert.equal(second.length, 2);
    assert(!entries().includes("a.partial"));
    assert(await at(50));
    for (const name of second) {
      const path = `${folder}/kept/${name}`;
      const { mtime } = Deno.statSync(path);
      if (mtime!.getTime() > Date.now() - 3_600_000) continue;
      throw new Error("an entry that was used is as old as before");
    }
    const byAge = second.map((name) => `${folder}/kept/${name}`)
      .sort((a, b) => +Deno.statSync(a).mtime! - +Deno.statSync(b).mtime!);
    Deno.utimeSync(byAge[0]!, old, old);
    assert(!await at(48, 2 * size + 100));
    assert.equal(entries().filter((it) => it.endsWith(".rows")).length, 2);
    assert(entries().includes("other"));
    assert.throws(() => Deno.statSync(byAge[0]!), Deno.errors.NotFound);
    // one that is larger than all that may be kept is not kept
    assert(!await at(47, 10));
    assert(!await at(47, 10));
  });
});

Deno.test("loadDataset() keeps no rows of a program's own format, of a template that spells the time, or few rows", async () => {
  await inFolder(async ({ load }) => {
    registerPromptFormat(turnFormat({
      name: "own-of-the-cache-test",
      user: [{ place: "content" }],
      assistant: "=",
    }));
    const clock = "{{ strftime_now('%H:%M') and '' }}";
    const day = "{{ strftime_now('%d %b %Y') and '' }}";
    const twice = async (
      options: Partial<DatasetOptions>,
      cache: Partial<RowCache> = {},
    ): Promise<boolean> => {
      await load(options, cache);
      return isKept(await load(options, cache));
    };
    assert(!await twice({ promptFormat: "own-of-the-cache-test" }));
    assert(!await twice({ tokenizer: await withTemplate(clock + MARKED) }));
    assert(await twice({ tokenizer: await withTemplate(day + MARKED) }));
    assert(!await twice({ maxSeqLength: 48 }, { leastRows: 4 }));
  });
});

Deno.test("modelFilesKey() changes with every file but the weights", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const write = (name: string, text: string): string => {
      Deno.writeTextFileSync(`${folder}/${name}`, text);
      return modelFilesKey(folder);
    };
    Deno.mkdirSync(`${folder}/additional_chat_templates`);
    const keys = [
      write("tokenizer.json", "{}"),
      write("tokenizer.json", "{ }"),
      write("chat_template.jinja", "a"),
      write("additional_chat_templates/tool.jinja", "b"),
      write("tokenizer.model", "c"),
    ];
    assert.equal(new Set(keys).size, keys.length);
    assert.equal(write("model.safetensors", "d"), keys.at(-1));
    const gguf = "tests/fixtures/gguf";
    const [file] = [...Deno.readDirSync(gguf)].filter(({ name }) =>
      name.endsWith(".gguf")
    );
    assert.match(modelFilesKey(`${gguf}/${file!.name}`), /^[0-9a-f]{64}$/);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("codeKey() changes with every file that takes part in encoding, and rowsKey() with it", async () => {
  await inFolder(async ({ folder, write }) => {
    const names = ["data/a.ts", "formats/b.ts", "tokenizer/c.ts"];
    const root = new URL(`file://${folder}/lib/`);
    assert.equal(codeKey(root), null);
    for (const name of names) {
      const path = `${folder}/lib/${name}`;
      Deno.mkdirSync(path.replace(/\/[^/]*$/, ""), { recursive: true });
      Deno.writeTextFileSync(path, "");
    }
    const keys = [...names, "input_error.ts"].map((name) => {
      Deno.writeTextFileSync(`${folder}/lib/${name}`, `// ${name}`);
      return codeKey(root);
    });
    assert.deepEqual(keys.slice(0, 3), [null, null, null]);
    keys.splice(0, 3);
    for (const name of [...names, "input_error.ts", "data/new.ts"]) {
      Deno.writeTextFileSync(`${folder}/lib/${name}`, "changed");
      keys.push(codeKey(root));
    }
    const tokenizer = await withTemplate(MARKED);
    const options = {
      tokenizer,
      config: { eos_token_id: tokenizer.eosTokenId! },
      maxSeqLength: 50,
      tokenizerKey: "T",
    };
    const path = write(ROWS);
    const ofRows = keys.map((code) => rowsKey([path], options, code));
    assert.equal(new Set(keys).size, 6);
    assert.equal(new Set(ofRows).size, 6);
    assert.equal(rowsKey([path], options, null), null);
    const remote = new URL("https://host.example/lorikeet@1/lib/");
    assert.equal(codeKey(remote), remote.href);
  });
});
