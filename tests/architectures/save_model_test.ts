/**
 * Models that are saved and read again, fresh weights, stored types, and files that
 * do not fit the config.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  type CausalLm,
  initializeWeights,
  saveModel,
} from "../../lib/architectures/mod.ts";
import type { TensorData } from "../../lib/formats/dtype.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import { findWeights } from "../../lib/formats/weights.ts";
import { liveTensors } from "../../lib/tensor/mod.ts";
import { errorOf, inFolder } from "../formats/temporary.ts";

const MODELS = "tests/fixtures/models";

/** Names and numbers of a model. */
function weightsOf(model: CausalLm): Map<string, number[]> {
  return new Map(
    [...model.namedParameters()].map(({ path, tensor }) => [
      path,
      [...tensor.toArray()],
    ]),
  );
}

for (const name of ["llama_gqa", "llama_tied", "llama_bias", "llama_sharded"]) {
  Deno.test(`saveModel() writes ${name} so that it reads again with the same weights`, () => {
    inFolder((folder) => {
      using model = AutoModelForCausalLM.fromPretrained(`${MODELS}/${name}`);
      saveModel(model, `${folder}/new`);
      using again = AutoModelForCausalLM.fromPretrained(`${folder}/new`);
      assert.deepEqual(weightsOf(again), weightsOf(model));
      assert.deepEqual({ ...again.config, path: "", source: "" }, {
        ...model.config,
        path: "",
        source: "",
      });
      const path = `${folder}/new/model.safetensors`;
      // transformers loads no file that does not say which framework wrote it
      assert.match(
        new TextDecoder().decode(Deno.readFileSync(path).slice(8, 60)),
        /^\{"__metadata__":\{"format":"pt"\}/,
      );
      const stored = readSafetensors(path);
      assert.equal(stored.has("lm_head.weight"), name !== "llama_tied");
    });
  });
}

Deno.test("saveModel() writes the type asked for, and config.json says so", () => {
  inFolder((folder) => {
    {
      using model = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
      saveModel(model, folder, { dtype: "bfloat16" });
    }
    for (const { dtype } of findWeights(folder).values()) {
      assert.equal(dtype, "bfloat16");
    }
    using again = AutoModelForCausalLM.fromPretrained(folder);
    for (const { tensor } of again.namedParameters()) {
      assert.equal(tensor.dtype, "bfloat16");
    }
  });
});

Deno.test("AutoModelForCausalLM.fromPretrained() stores weights as config.json says in either spelling, or else as they are", () => {
  inFolder((folder) => {
    {
      using model = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
      saveModel(model, folder, { dtype: "bfloat16" });
    }
    const json = JSON.parse(Deno.readTextFileSync(`${folder}/config.json`));
    const typeWith = (fields: Readonly<Record<string, unknown>>): string => {
      const config = { ...json, dtype: null, torch_dtype: null, ...fields };
      Deno.writeTextFileSync(`${folder}/config.json`, JSON.stringify(config));
      using model = AutoModelForCausalLM.fromPretrained(folder);
      const [first] = model.namedParameters();
      return first!.tensor.dtype;
    };
    assert.equal(typeWith({}), "bfloat16");
    assert.equal(typeWith({ dtype: "float16" }), "float16");
    assert.equal(typeWith({ torch_dtype: "float32" }), "float32");
    assert.equal(
      typeWith({ dtype: "float32", torch_dtype: "float16" }),
      "float32",
    );
  });
});

/** Saves a model of 130 MiB in a process of its own: by how many MiB its memory grew. */
function growthWhenSaving(dtype: string): number {
  const root = new URL("../../", import.meta.url).href;
  const code = `
    import { initializeWeights, llamaConfig, LlamaForCausalLm, saveModel } from "${root}lib/architectures/mod.ts";
    using model = new LlamaForCausalLm(llamaConfig("F", {
      hidden_size: 512, num_attention_heads: 8, num_hidden_layers: 8,
      intermediate_size: 1344, vocab_size: 8192,
    }));
    initializeWeights(model, { seed: 1 });
    const peak = () =>
      Number(/VmHWM:\\s+(\\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))[1]);
    const before = peak();
    saveModel(model, Deno.args[0], { dtype: "${dtype}" });
    console.log((peak() - before) / 1024);`;
  return inFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/save.ts`, code);
    const { stdout, stderr } = new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "-A", "--no-check", `${folder}/save.ts`, folder],
      cwd: new URL("../../", import.meta.url),
    }).outputSync();
    const size = Deno.statSync(`${folder}/model.safetensors`).size;
    assert(size > 60 * 2 ** 20, new TextDecoder().decode(stderr));
    return Number(new TextDecoder().decode(stdout));
  });
}

Deno.test({
  name: "saveModel() needs memory for one tensor, not for the model",
  ignore: Deno.build.os !== "linux",
  fn: () => {
    for (const dtype of ["float32", "bfloat16"]) {
      const growth = growthWhenSaving(dtype);
      assert(growth < 40, `${growth} MiB for ${dtype}`);
    }
  },
});

Deno.test("AutoModelForCausalLM.fromPretrained() stores weights in the type asked for", () => {
  for (const torchDtype of ["bfloat16", "float16", "float32"] as const) {
    using model = AutoModelForCausalLM.fromPretrained(
      `${MODELS}/llama_bias`,
      { torchDtype },
    );
    const types = [...model.namedParameters()].map((each) => each.tensor.dtype);
    assert.deepEqual(new Set(types), new Set([torchDtype]));
  }
});

Deno.test("initializeWeights() draws the same weights for the same seed, matrices normal, norms one, biases zero", () => {
  const before = liveTensors();
  const draw = (seed: number, name: string): Map<string, number[]> => {
    using model = AutoModelForCausalLM.fromConfig(`${MODELS}/${name}`);
    initializeWeights(model, { seed });
    return weightsOf(model);
  };
  const first = draw(1, "llama_bias");
  assert.deepEqual(draw(1, "llama_bias"), first);
  const other = draw(2, "llama_bias");
  for (const [path, values] of first) {
    if (path.endsWith("norm.weight")) {
      assert(values.every((each) => each === 1), path);
    } else if (path.endsWith(".bias")) {
      assert(values.every((each) => each === 0), path);
    } else {
      assert.notDeepEqual(other.get(path), values);
      const square = values.reduce((sum, each) => sum + each * each, 0);
      const deviation = Math.sqrt(square / values.length);
      // initializer_range of the fixtures is 0.2
      assert(Math.abs(deviation - 0.2) < 0.03, `${path}: ${deviation}`);
    }
  }
  const tied = draw(1, "llama_tied");
  assert.deepEqual(
    tied.get("lm_head.weight"),
    tied.get("model.embed_tokens.weight"),
  );
  assert.equal(liveTensors(), before);
});

/** The error about `llama_gqa` with its tensors changed. */
function errorReading(
  change: (tensors: Map<string, TensorData>) => void,
): string {
  return inFolder((folder) => {
    const source = `${MODELS}/llama_gqa`;
    Deno.copyFileSync(`${source}/config.json`, `${folder}/config.json`);
    const tensors = readSafetensors(`${source}/model.safetensors`);
    change(tensors);
    writeSafetensors(`${folder}/model.safetensors`, tensors);
    return errorOf(() => AutoModelForCausalLM.fromPretrained(folder))
      .replaceAll(folder, "F");
  });
}

Deno.test("AutoModelForCausalLM.fromPretrained() names missing, misshapen and unexpected tensors, all at once", () => {
  const message = errorReading((tensors) => {
    const norm = tensors.get("model.norm.weight")!;
    tensors.delete("model.norm.weight");
    tensors.set("model.layers.7.norm.weight", norm);
    tensors.set("lm_head.weight", norm);
  });
  assert.equal(
    message,
    'Cannot load weights of "F": "model.norm.weight" is missing; ' +
      '"lm_head.weight" has shape [32], config.json asks for [96, 32]; ' +
      '"model.layers.7.norm.weight" belongs to no layer of this model',
  );
});

Deno.test("AutoModelForCausalLM.fromPretrained() counts problems beyond the tenth", () => {
  const message = errorReading((tensors) => {
    for (const name of [...tensors.keys()]) {
      if (name.includes("layers.0") || name.includes("layers.1.mlp")) {
        tensors.delete(name);
      }
    }
  });
  assert.equal(message.split("; ").length, 11);
  assert.match(message, /; and 2 more$/);
});

Deno.test("AutoModelForCausalLM.fromPretrained() passes over buffers that old checkpoints hold", () => {
  inFolder((folder) => {
    const source = `${MODELS}/llama_gqa`;
    Deno.copyFileSync(`${source}/config.json`, `${folder}/config.json`);
    const tensors = readSafetensors(`${source}/model.safetensors`);
    tensors.set("model.layers.0.self_attn.rotary_emb.inv_freq", {
      dtype: "float32",
      shape: [1],
      bytes: new Uint8Array(4),
    });
    writeSafetensors(`${folder}/model.safetensors`, tensors);
    using model = AutoModelForCausalLM.fromPretrained(folder);
    assert.equal(model.config.layers, 2);
  });
});

Deno.test("AutoModelForCausalLM.fromPretrained() refuses a cut file and a folder without weights, leaving no tensor", () => {
  const before = liveTensors();
  inFolder((folder) => {
    const source = `${MODELS}/llama_gqa`;
    Deno.copyFileSync(`${source}/config.json`, `${folder}/config.json`);
    const load = (): string =>
      errorOf(() => AutoModelForCausalLM.fromPretrained(folder));
    assert.match(load(), /it has none of "model.safetensors/);
    const bytes = Deno.readFileSync(`${source}/model.safetensors`);
    Deno.writeFileSync(
      `${folder}/model.safetensors`,
      bytes.subarray(0, bytes.length - 100),
    );
    assert.match(load(), /^Cannot load ".*model\.safetensors": /);
    for (const length of [0, 4, 200]) {
      Deno.writeFileSync(
        `${folder}/model.safetensors`,
        bytes.subarray(0, length),
      );
      assert.match(load(), /^Cannot load ".*model\.safetensors": /);
    }
  });
  assert.equal(liveTensors(), before);
});
