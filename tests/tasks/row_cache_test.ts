/**
 * Tokenised rows between two runs of the command: they are taken where nothing has
 * changed, made anew where something has, and no run ends because of them.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { libraries } from "../../ffi/mod.ts";

const MODEL = "models/tiny-atom";

interface Run {
  /** What it says of its rows. */
  readonly isKept: boolean;
  readonly said: string;
  /** The bytes of its adapter. */
  readonly adapter: Uint8Array;
}

/** Runs of the command on 2,000 rows in a folder with a model of its own. */
class Place {
  readonly folder = Deno.makeTempDirSync();
  readonly rows = `${this.folder}/rows.jsonl`;
  #runs = 0;

  constructor() {
    Deno.mkdirSync(`${this.folder}/model`);
    for (const { name, isFile } of Deno.readDirSync(MODEL)) {
      if (!isFile) continue;
      Deno.copyFileSync(`${MODEL}/${name}`, `${this.folder}/model/${name}`);
    }
    const lines = Array.from(
      { length: 2000 },
      (_, at) =>
        JSON.stringify({ instruction: `问${at}`, output: `答${at % 7}` }),
    );
    Deno.writeTextFileSync(this.rows, lines.join("\n"));
  }

  async train(
    flags: readonly string[] = [],
    cache = `${this.folder}/cache`,
  ): Promise<Run> {
    const output = `${this.folder}/output${this.#runs++}`;
    const { success, stdout, stderr } = await new Deno.Command(
      Deno.execPath(),
      {
        args: [
          ...["run", "-q", "-P=train", "--no-prompt", "tasks/train.ts"],
          ...["--model_path", `${this.folder}/model`, "--max_steps", "1"],
          ...["--dataset_path", this.rows, "--target_modules", "q_proj"],
          ...["--sample_question", "none", "--use_cpu"],
          ...["--output_dir", output, ...flags],
        ],
        env: {
          NO_COLOR: "1",
          LIBTORCH: libraries().folder,
          LORIKEET_CACHE: cache,
        },
      },
    ).output();
    const said = new TextDecoder().decode(stdout) +
      new TextDecoder().decode(stderr);
    assert(success, said);
    return {
      said,
      isKept: said.includes("; tokenised in an earlier run\n"),
      adapter: Deno.readFileSync(`${output}/adapter_model.safetensors`),
    };
  }

  entries(): string[] {
    const kept = `${this.folder}/cache/rows`;
    return [...Deno.readDirSync(kept)].map(({ name }) => `${kept}/${name}`);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

Deno.test("deno task train takes the rows of an earlier run to the same adapter bytes, and makes them anew for other rows, templates and settings, or a cut file", async () => {
  using place = new Place();
  const [first, beside] = await Promise.all([place.train(), place.train()]);
  // one of two runs at once may come to the rows of the other
  assert(!first.isKept || !beside.isKept);
  assert.equal(place.entries().length, 1);
  const second = await place.train();
  assert(second.isKept, second.said);
  assert.deepEqual(second.adapter, first.adapter);
  assert.deepEqual(beside.adapter, first.adapter);
  assert(!(await place.train(["--train_on", "everything"])).isKept);
  assert(!(await place.train(["--dataset_cache", "false"])).isKept);
  Deno.writeTextFileSync(
    `${place.folder}/model/chat_template.jinja`,
    "{{ 'Human: ' + messages[0].content + ' Assistant:' }}",
  );
  assert(!(await place.train()).isKept);
  Deno.removeSync(`${place.folder}/model/chat_template.jinja`);
  for (const path of place.entries()) Deno.truncateSync(path, 1000);
  const repaired = await place.train();
  assert(!repaired.isKept);
  assert.deepEqual(repaired.adapter, first.adapter);
  Deno.writeTextFileSync(
    place.rows,
    Deno.readTextFileSync(place.rows).replace("答3", "答4"),
  );
  assert(!(await place.train()).isKept);
});

Deno.test("deno task train says in one line that rows are not kept where the cache folder cannot be written to", async () => {
  using place = new Place();
  const blocked = `${place.folder}/blocked`;
  Deno.writeTextFileSync(blocked, "a file in the way");
  const { said, isKept } = await place.train([], blocked);
  assert(!isKept);
  const lines = said.split("\n").filter((line) => line.includes("not kept"));
  assert.equal(lines.length, 1, said);
  assert.match(
    lines[0]!,
    /; not kept for the next run: ".*\/blocked\/rows" cannot be written to$/,
  );
});
