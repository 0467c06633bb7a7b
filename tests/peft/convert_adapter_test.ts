/**
 * Adapters of mlx-lm and torchtune: the same product at the same place, there and back,
 * and one sentence for what has no place in their files.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import type { TensorData } from "../../lib/formats/dtype.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import {
  readTorchArchive,
  writeTorchArchive,
} from "../../lib/formats/torch_archive.ts";
import {
  type AdapterFormat,
  convertAdapter,
  getPeftModel,
  PeftModel,
} from "../../lib/peft/mod.ts";
import { errorOf } from "../formats/temporary.ts";
import { GOLDEN, inFolder, MODELS, numbersOf } from "../training/tiny_run.ts";
import { golden, KINDS, logitsOf } from "./kinds.ts";

const PREFIX = "base_model.model.";

/** Converts `adapter` there and back, and returns the folder. */
function thereAndBack(
  folder: string,
  plan: { readonly adapter: string; readonly to: AdapterFormat },
): { readonly there: string; readonly back: string } {
  const [there, back] = [`${folder}/there`, `${folder}/back`];
  const { from } = convertAdapter({ ...plan, output: there });
  assert.equal(from, "peft");
  if (plan.to === "torchtune") {
    Deno.removeSync(`${there}/adapter_model.safetensors`);
  }
  const modelPath = `${MODELS}/llama_gqa`;
  assert.equal(
    convertAdapter({ adapter: there, output: back, to: "peft", modelPath })
      .from,
    plan.to,
  );
  return { there, back };
}

const ADAPTERS = [
  `${GOLDEN}/trained`,
  `${GOLDEN}/all_linear`,
  `${GOLDEN}/regex`,
  `${KINDS}/dora`,
  `${KINDS}/head`,
];

for (const to of ["mlx", "torchtune"] as const) {
  for (const adapter of ADAPTERS) {
    Deno.test(`convertAdapter() to ${to} and back keeps tensors and logits: ${adapter}`, () =>
      inFolder((folder) => {
        const { back } = thereAndBack(folder, { adapter, to });
        const read = (path: string): Map<string, TensorData> =>
          readSafetensors(`${path}/adapter_model.safetensors`);
        const expected = [...read(adapter)]
          .filter(([name]) => !name.endsWith("base_layer.weight"));
        assert.deepEqual([...read(back)], expected);
        const peft = golden("dora");
        const logits = [adapter, back].map((path) => {
          using base = AutoModelForCausalLM.fromPretrained(peft.base);
          using _model = PeftModel.fromPretrained(base, path);
          return logitsOf(base, peft);
        });
        assert.deepEqual(logits[1], logits[0]);
        return Promise.resolve();
      }));
  }
}

Deno.test("convertAdapter() writes mlx-lm's matrices: scale · (A B)ᵀ is the product, on the layers that it counts from the last", () =>
  inFolder((folder) => {
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using model = getPeftModel(base, {
      r: 3,
      lora_alpha: 7,
      target_modules: ["v_proj"],
      layers_to_transform: [1],
    }, { seed: 1 });
    for (const { tensor } of model.trainedParameters()) tensor.add(tensor);
    model.savePretrained(`${folder}/peft`);
    const output = `${folder}/mlx`;
    convertAdapter({ adapter: `${folder}/peft`, output, to: "mlx" });
    const config = JSON.parse(
      Deno.readTextFileSync(`${output}/adapter_config.json`),
    );
    assert.deepEqual(config, {
      fine_tune_type: "lora",
      lora_parameters: {
        dropout: 0,
        keys: ["self_attn.v_proj"],
        rank: 3,
        scale: 7 / 3,
      },
      model: `${MODELS}/llama_gqa`,
      num_layers: 1,
    });
    const theirs = readSafetensors(`${output}/adapters.safetensors`);
    const path = "model.layers.1.self_attn.v_proj";
    assert.deepEqual([...theirs.keys()], [`${path}.lora_a`, `${path}.lora_b`]);
    const ours = new Map(model.stateDict());
    for (const [name, mine] of [["lora_a", "lora_A"], ["lora_b", "lora_B"]]) {
      const { shape } = theirs.get(`${path}.${name}`)!;
      const numbers = numbersOf(theirs.get(`${path}.${name}`)!);
      const own = ours.get(`${PREFIX}${path}.${mine}.weight`)!;
      const values = own.toArray();
      const [rows = 0, columns = 0] = own.shape;
      assert.deepEqual(shape, [columns, rows]);
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          assert.equal(
            numbers[column * rows + row],
            values[row * columns + column],
          );
        }
      }
    }
    return Promise.resolve();
  }));

Deno.test("convertAdapter() reads an mlx-lm adapter of the last layers, with a scale that is no whole number", () =>
  inFolder((folder) => {
    const adapter = `${folder}/mlx`;
    Deno.mkdirSync(adapter);
    const one = (shape: number[]): TensorData => ({
      dtype: "float32",
      shape,
      bytes: new Uint8Array(
        new Float32Array(shape[0]! * shape[1]!).fill(0.5).buffer,
      ),
    });
    const path = "model.layers.1.mlp.down_proj";
    writeSafetensors(
      `${adapter}/adapters.safetensors`,
      new Map([[`${path}.lora_a`, one([48, 2])], [
        `${path}.lora_b`,
        one([2, 32]),
      ]]),
    );
    const parameters = {
      rank: 2,
      scale: 20.25,
      dropout: 0,
      keys: ["mlp.down_proj"],
    };
    const write = (json: object): void =>
      Deno.writeTextFileSync(
        `${adapter}/adapter_config.json`,
        JSON.stringify(json),
      );
    write({
      fine_tune_type: "lora",
      num_layers: 1,
      lora_parameters: parameters,
    });
    const output = `${folder}/peft`;
    convertAdapter({ adapter, output, to: "peft" });
    const { r, lora_alpha, target_modules, layers_to_transform } = PeftModel
      .readConfig(output);
    assert.deepEqual(
      { r, lora_alpha, target_modules, layers_to_transform },
      {
        r: 2,
        lora_alpha: 40.5,
        target_modules: ["down_proj"],
        layers_to_transform: [1],
      },
    );
    using base = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
    using _model = PeftModel.fromPretrained(base, output);
    write({ fine_tune_type: "full", lora_parameters: {} });
    assert.equal(
      errorOf(() =>
        convertAdapter({ adapter, output: `${folder}/x`, to: "peft" })
      ),
      `Cannot use adapter "${adapter}/adapter_config.json": "fine_tune_type" is "full", expected lora or dora; ` +
        '"lora_parameters" has scale undefined, expected a number',
    );
    return Promise.resolve();
  }));

Deno.test("convertAdapter() writes rows of queries and keys in torchtune's order, those of others as they are", () =>
  inFolder((folder) => {
    const { there } = thereAndBack(folder, {
      adapter: `${GOLDEN}/all_linear`,
      to: "torchtune",
    });
    const theirs = readTorchArchive(`${there}/adapter_model.pt`);
    const ours = readSafetensors(
      `${GOLDEN}/all_linear/adapter_model.safetensors`,
    );
    const modules = [
      ["attn.q_proj", "self_attn.q_proj", 4],
      ["attn.k_proj", "self_attn.k_proj", 2],
      ["attn.v_proj", "self_attn.v_proj", null],
      ["attn.output_proj", "self_attn.o_proj", null],
      ["mlp.w1", "mlp.gate_proj", null],
      ["mlp.w2", "mlp.down_proj", null],
      ["mlp.w3", "mlp.up_proj", null],
    ] as const;
    assert.equal(theirs.size, 2 * 2 * modules.length);
    for (const [name, mine, heads] of modules) {
      const b = theirs.get(`layers.0.${name}.lora_b.weight`)!;
      const [rows = 0, rank = 0] = b.shape;
      const found = numbersOf(b);
      const own = numbersOf(
        ours.get(`${PREFIX}model.layers.0.${mine}.lora_B.weight`)!,
      );
      const size = heads === null ? 0 : rows / heads;
      for (let row = 0; row < rows; row++) {
        const head = size === 0 ? 0 : Math.floor(row / size) * size;
        const within = row - head;
        // neighbours 2i and 2i + 1 there are i and i + d/2 here
        const from = size === 0
          ? row
          : head + Math.floor(within / 2) + (within % 2) * size / 2;
        for (let column = 0; column < rank; column++) {
          assert.equal(
            found[row * rank + column],
            own[from * rank + column],
            name,
          );
        }
      }
    }
    return Promise.resolve();
  }));

Deno.test("convertAdapter() refuses in one sentence what the other files have no place for", () =>
  inFolder((folder) => {
    const output = `${folder}/out`;
    const to = (adapter: string, format: AdapterFormat): string =>
      errorOf(() => convertAdapter({ adapter, output, to: format }));
    for (
      const [name, field] of [
        ["saved", "modules_to_save"],
        ["bias_all", "bias"],
        ["tokens", "trainable_token_indices"],
        ["lora_bias", "lora_bias"],
        ["pissa", 'init_lora_weights "pissa"'],
      ]
    ) {
      assert.match(
        to(`${KINDS}/${name}`, "mlx"),
        new RegExp(`: it has ${field}, only LoRA and DoRA have a place`),
      );
    }
    assert.match(
      to(`${GOLDEN}/patterns`, "mlx"),
      /is scaled by .* the format has one scale for all layers$/,
    );
    assert.match(
      to(`${KINDS}/embedding_dora`, "mlx"),
      /DoRA on "model\.embed_tokens" trains lengths of columns/,
    );
    assert.match(
      to(`${KINDS}/embedding`, "torchtune"),
      /torchtune has no name for "model\.embed_tokens"$/,
    );
    assert.match(to(`${GOLDEN}/trained`, "peft"), /it is peft's already$/);
    assert.match(to(folder, "mlx"), /adapter_config\.json/);
    const tune = `${folder}/tune`;
    Deno.mkdirSync(tune);
    writeTorchArchive(`${tune}/adapter_model.pt`, new Map());
    assert.match(
      to(tune, "peft"),
      /the order of rows in torchtune depends on the base model, name its folder as model_path$/,
    );
    return Promise.resolve();
  }));

/** Runs the command with the permissions of its task. */
async function run(
  ...args: string[]
): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "-P=convert",
      "--no-prompt",
      "tasks/convert.ts",
      ...args,
    ],
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), err: text(stderr) };
}

Deno.test("deno task convert needs to read, to write and INIT_CWD only, and leaves nothing where it fails", () =>
  inFolder(async (folder) => {
    const adapter = `${GOLDEN}/trained`;
    const output = `${folder}/mlx`;
    const done = await run(
      "--adapter",
      adapter,
      "--output_dir",
      output,
      "--to",
      "mlx",
    );
    assert.deepEqual(done, {
      code: 0,
      out: `Converted ${adapter} from peft to mlx: 8 modules, in ${output}\n`,
      err: "",
    });
    const again = await run(
      "--adapter",
      adapter,
      "--output_dir",
      output,
      "--to",
      "mlx",
    );
    assert.equal(again.code, 1);
    const bad = await run(
      "--adapter",
      `${KINDS}/saved`,
      "--output_dir",
      `${folder}/x`,
      "--to",
      "mlx",
    );
    assert.deepEqual([bad.code, bad.out], [1, ""]);
    assert.deepEqual(Array.from(Deno.readDirSync(folder), ({ name }) => name), [
      "mlx",
    ]);
    const wrong = await run("--to", "gguf");
    assert.equal(wrong.code, 2);
    assert.match(
      wrong.err,
      /invalid choice: 'gguf'[^]*--adapter is missing[^]*--output_dir is missing/,
    );
  }));
