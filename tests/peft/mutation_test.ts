/**
 * Broken adapters: each of 1,500 seeded changes to the files of a golden adapter
 * ends in an adapter that works or in one sentence, and leaves the base model as it was.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { InputError } from "../../lib/input_error.ts";
import { PeftModel, writeAdapterArchive } from "../../lib/peft/mod.ts";
import {
  liveTensors,
  noGrad,
  tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { inFolder, seeded } from "../formats/temporary.ts";

const GOLDEN = "tests/fixtures/peft/patterns";
const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
const ARCHIVE = "adapter_model.bin";
const LONGEST_MS = 3000;

type Random = (below: number) => number;

/** What stands in a field or around it in place of what should. */
const VALUES: readonly unknown[] = [
  ...[null, true, false, 0, -1, 1, 1.5, 2 ** 40, 1e300, -0, "", "1", "(", "x"],
  ...["all-linear", ".*", "(a+)+$", "(?=(.*)+x)x", "[", "q_proj", "\u001b[2J"],
  ...["gaussian", "LORA", "__proto__", "constructor", "é".repeat(5000)],
  ...[[], [0], [1, 2], ["q_proj"], [null], [[]], ["q_proj", 1], {}],
  ...[{ q_proj: 2 }, { "(": 1 }, { ".*": 1e30 }, { a: [] }, { "": 1 }],
  ...[{ toString: 3 }, { "(.+)+x": 2 }, Array(300).fill("o_proj")],
  Array(2000).fill(0).reduce((inner) => [inner], 0),
];

/** Names of fields that a changed file may get. */
const NAMES = [
  ...["__proto__", "constructor", "toString", "runtime_config", "later", ""],
  ...["\u001b[2J", "peft_type", "r", "use_dora", "modules_to_save"],
];

/** Texts that no JSON writer gives. */
const TEXTS = [
  "NaN",
  "Infinity",
  "-Infinity",
  "1e400",
  "1e-400",
  "01",
  "{",
  "",
];

/** A changed adapter_config.json. */
function brokenConfig(source: string, random: Random): string {
  const fields = Object.entries(JSON.parse(source)).map(([name, value]) =>
    [name, JSON.stringify(value)] as [string, string]
  );
  const texts = VALUES.map((value) => JSON.stringify(value));
  for (let times = 1 + random(3); times > 0; times--) {
    const field = fields[random(fields.length)]!;
    const value = texts[random(texts.length)]!;
    const kind = random(10);
    if (kind < 6) field[1] = value;
    else if (kind < 7) fields.splice(fields.indexOf(field), 1);
    else if (kind < 8) fields.push([NAMES[random(NAMES.length)]!, value]);
    else field[1] = `{${JSON.stringify(field[0])}:${field[1]},"x":${value}}`;
  }
  const text = `{${
    fields.map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join()
  }}`;
  if (random(4) > 0) return text;
  const at = random(text.length);
  const inserted = TEXTS[random(TEXTS.length)]!;
  return text.slice(0, at) + inserted + text.slice(at + random(4));
}

/** Changed bytes of a file of weights, most changes in its first part. */
function brokenBytes(source: Uint8Array, random: Random): Uint8Array {
  const bytes = source.slice();
  const place = (): number => random(random(3) > 0 ? 1200 : bytes.length);
  switch (random(5)) {
    case 0:
      return bytes.subarray(0, random(bytes.length));
    case 1: {
      const [from, to, size] = [place(), place(), 1 + random(60)];
      bytes.copyWithin(to, from, from + size);
      return bytes;
    }
    case 2: {
      const at = place();
      return new Uint8Array([
        ...bytes.subarray(0, at),
        ...bytes.subarray(at + 1 + random(8)),
      ]);
    }
    default:
      for (let times = 1 + random(6); times > 0; times--) {
        bytes[place()] = random(256);
      }
      return bytes;
  }
}

/** Loads what is in `folder` in many broken forms. */
function loadAll(
  folder: string,
  mutants: {
    file: string;
    count: number;
    make: (random: Random) => Uint8Array;
  },
): Map<string, number> {
  const numbers = seeded(2026);
  const random: Random = (below) => Math.floor(numbers.next().value * below);
  using base = AutoModelForCausalLM.fromPretrained(
    "tests/fixtures/models/llama_gqa",
  );
  using _scope = tensorScope();
  using _frozen = noGrad();
  const ids = tensor([[1, 5, 6, 7]], { dtype: "int64" });
  const logits = (): Float64Array => base.forward(ids).toArray();
  const bare = logits();
  const seen = new Map<string, number>();
  const live = liveTensors();
  for (let index = 0; index < mutants.count; index++) {
    const content = mutants.make(random);
    Deno.writeFileSync(`${folder}/${mutants.file}`, content);
    const started = performance.now();
    let outcome = "works";
    try {
      using _scope = tensorScope();
      using model = PeftModel.fromPretrained(base, folder);
      assert(model.trainedParameters().length > 0);
      logits();
      inFolder((copy) => model.savePretrained(copy));
    } catch (error) {
      const shown = `mutant ${index} of ${mutants.file}: ${error}`;
      assert(error instanceof InputError, shown);
      // deno-lint-ignore no-control-regex
      assert(!/[\x00-\x09\x0b-\x1f\x7f]/.test(error.message), shown);
      outcome = "refused";
    }
    const took = performance.now() - started;
    assert(took < LONGEST_MS, `mutant ${index} took ${took} ms`);
    seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
  }
  assert.equal(liveTensors(), live);
  assert.deepEqual(logits(), bare);
  return seen;
}

function copyGolden(folder: string): void {
  for (const file of [CONFIG, WEIGHTS]) {
    Deno.copyFileSync(`${GOLDEN}/${file}`, `${folder}/${file}`);
  }
}

Deno.test("PeftModel.fromPretrained() gives an adapter or a sentence for 750 broken adapter_config.json", () => {
  const source = Deno.readTextFileSync(`${GOLDEN}/${CONFIG}`);
  inFolder((folder) => {
    copyGolden(folder);
    const seen = loadAll(folder, {
      file: CONFIG,
      count: 750,
      make: (random) => new TextEncoder().encode(brokenConfig(source, random)),
    });
    assert(seen.get("works")! > 20, "too few adapters work");
    assert(seen.get("refused")! > 300, "too few adapters are refused");
  });
});

for (const file of [WEIGHTS, ARCHIVE]) {
  Deno.test(`PeftModel.fromPretrained() gives an adapter or a sentence for 375 broken ${file}`, () => {
    inFolder((folder) => {
      copyGolden(folder);
      if (file === ARCHIVE) {
        using base = AutoModelForCausalLM.fromPretrained(
          "tests/fixtures/models/llama_gqa",
        );
        using model = PeftModel.fromPretrained(base, folder);
        writeAdapterArchive(folder, model.stateDict());
        Deno.removeSync(`${folder}/${WEIGHTS}`);
      }
      const source = Deno.readFileSync(`${folder}/${file}`);
      const seen = loadAll(folder, {
        file,
        count: 375,
        make: (random) => brokenBytes(source, random),
      });
      assert(seen.get("refused")! > 100, "too few adapters are refused");
    });
  });
}
