/**
 * Broken `config.json` files by the hundred: each gives a model or one sentence,
 * within moments, whatever is in it.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  type CausalLm,
} from "../../lib/architectures/mod.ts";
import { rectangle } from "../../lib/data/batch.ts";
import { InputError } from "../../lib/input_error.ts";
import { liveTensors, tensorScope } from "../../lib/tensor/mod.ts";
import { inFolder, seeded } from "../formats/temporary.ts";

/** Folders of checkpoints; `families` has files beside them. */
const FOLDERS = ["tests/fixtures/models", "tests/fixtures/families"];
const MUTANTS = 3000;
const SLOWEST_MS = 2000;

/** JSON texts that stand where something else belongs. */
const VALUES = [
  ...["null", "true", "false", '""', '"x"', "[]", "{}", "[1]", '[["a"]]'],
  ...["-1", "0", "1", "2", "3", "7", "0.5", "-0.0", "1e9", "1e308", "1e400"],
  ...["9007199254740993", "1000000", "1e-320", "NaN", "-Infinity"],
  ...['"__proto__"', '"constructor"', '"toString"', '"32"', '"\\u001b[2J"'],
  ...['"yarn"', '"longrope"', '"dynamic"', '"llama3"', '"linear"'],
  ...['{"__proto__": 1}', '{"rope_type": "__proto__"}', '{"factor": 2}'],
  ...['"gelu"', '["sliding_attention", "full_attention"]', "[0, 1]", "[1, 0]"],
  ...["[1, 2, 3, 4]", "[null]", `${"[".repeat(20_000)}${"]".repeat(20_000)}`],
];

/** Fields that a mutant may get although the fixture has none. */
const FIELDS = [
  ...["model_type", "architectures", "hidden_act", "head_dim", "vocab_size"],
  ...["num_hidden_layers", "rope_scaling", "rope_parameters", "rope_theta"],
  ...["attention_bias", "mlp_bias", "tie_word_embeddings", "torch_dtype"],
  ...[
    "dtype",
    "sliding_window",
    "eos_token_id",
    "original_max_position_embeddings",
  ],
  ...[
    "__proto__",
    "constructor",
    "quantization_config",
    "max_position_embeddings",
  ],
  ...["layer_types", "use_sliding_window", "sliding_window_pattern"],
  ...["attention_dropout", "partial_rotary_factor", "num_key_value_heads"],
  ...["intermediate_size", "no_rope_layers", "final_logit_softcapping"],
];

/** Fields of a rope. */
const ROPE_FIELDS = [
  ...["rope_type", "type", "factor", "rope_theta", "short_factor"],
  ...["long_factor", "low_freq_factor", "high_freq_factor", "truncate"],
  ...["beta_fast", "mscale", "attention_factor", "partial_rotary_factor"],
];

/** A JSON object as its fields in order, values as JSON text. */
type Fields = [string, string][];

function textOf(fields: Fields): string {
  return `{${
    fields.map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join(",")
  }}`;
}

function fieldsOf(json: object): Fields {
  return Object.entries(json).map(([name, value]) => [
    name,
    JSON.stringify(value),
  ]);
}

/** One to three changes to a `config.json`, in its ropes too. */
function mutant(text: string, below: (limit: number) => number): string {
  const pick = <T>(items: readonly T[]): T => items[below(items.length)]!;
  const json = JSON.parse(text);
  const name = ["rope_scaling", "rope_parameters"].find((each) => json[each]);
  const ropes = fieldsOf(json[name ?? ""] ?? {});
  const fields = fieldsOf(json).filter(([each]) => each !== name);
  for (let count = 1 + below(3); count > 0; count--) {
    const kind = below(8);
    if (kind === 0) fields.splice(below(fields.length), 1);
    else if (kind === 1) ropes.splice(below(ropes.length + 1), 1);
    else if (kind === 2) fields.push([pick(FIELDS), pick(VALUES)]);
    else if (kind < 5) ropes.push([pick(ROPE_FIELDS), pick(VALUES)]);
    else if (kind === 5 && ropes.length > 0) pick(ropes)[1] = pick(VALUES);
    else pick(fields)[1] = pick(VALUES);
  }
  if (ropes.length > 0) {
    fields.push([name ?? "rope_parameters", textOf(ropes)]);
  }
  const whole = textOf(fields);
  // now and then the text itself is cut
  return below(20) === 0 ? whole.slice(0, below(whole.length)) : whole;
}

/** The sentence that loading gives, or `null` for a model that can be asked. */
function sentenceOf(folder: string): string | null {
  try {
    using model: CausalLm = AutoModelForCausalLM.fromPretrained(folder);
    using _scope = tensorScope();
    model.context(rectangle(1, 3));
    return null;
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}

Deno.test(`AutoModelForCausalLM.fromPretrained() gives a model or a sentence for ${MUTANTS} broken config.json files`, () => {
  const sources = FOLDERS.flatMap(checkpointsIn);
  const random = seeded(7);
  const below = (limit: number): number =>
    Math.floor(random.next().value * limit);
  const before = liveTensors();
  const sentences = new Set<string>();
  let models = 0;
  inFolder((folder) => {
    for (let count = 0; count < MUTANTS; count++) {
      const source = sources[count % sources.length]!;
      const own = `${folder}/${count % sources.length}`;
      if (count < sources.length) copyModel(source, own);
      const text = mutant(
        Deno.readTextFileSync(`${source}/config.json`),
        below,
      );
      Deno.writeTextFileSync(`${own}/config.json`, text);
      const started = performance.now();
      let sentence: string | null;
      try {
        sentence = sentenceOf(own);
      } catch (error) {
        throw new Error(`mutant ${count}: ${text.slice(0, 2000)}`, {
          cause: error,
        });
      }
      const took = performance.now() - started;
      assert(took < SLOWEST_MS, `${took} ms for ${text.slice(0, 2000)}`);
      if (sentence === null) models++;
      else {
        assert.match(sentence, /^Cannot [^\n]{10,3000}$/);
        assert.doesNotMatch(sentence, /\[object|undefined|native code/);
        sentences.add(sentence.replace(/"[^"]*"/, ""));
      }
    }
  });
  assert(models > 50, `${models} models`);
  assert(sentences.size > 200, `${sentences.size} sentences`);
  assert.equal(liveTensors(), before);
});

/** The folders below `folder`, in order. */
function checkpointsIn(folder: string): string[] {
  const folders = [...Deno.readDirSync(folder)].filter((entry) =>
    entry.isDirectory
  );
  return folders.map(({ name }) => `${folder}/${name}`).sort();
}

function copyModel(source: string, target: string): void {
  Deno.mkdirSync(target);
  for (const { name, isFile } of Deno.readDirSync(source)) {
    if (isFile) Deno.copyFileSync(`${source}/${name}`, `${target}/${name}`);
  }
}
