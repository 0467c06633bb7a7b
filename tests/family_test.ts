/**
 * A family of models that one file outside `lib/` brings, with nothing but `mod.ts`:
 * learned positions, no rotation, layer norms, one fused projection, field names of
 * its own. It loads, initialises, saves, trains, resumes and generates.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  aten,
  AutoModelForCausalLM,
  CausalLm,
  generate,
  getPeftModel,
  type ModelConfig,
  noGrad,
  PeftModel,
  registerFamily,
  saveModel,
  type Tensor,
  tensor,
  tensorScope,
  Trainer,
} from "../mod.ts";
import {
  checkWeights,
  type ConfigReader,
  DecoderLayer,
  initializeWeights,
  readConfig,
} from "../lib/architectures/mod.ts";
import {
  attention,
  type BatchContext,
  Embedding,
  type KeyValueCache,
  Linear,
  Module,
  ModuleList,
  type ParameterSpec,
  type Projection,
} from "../lib/nn/mod.ts";
import { assertClose } from "./closeness.ts";
import { errorOf } from "./formats/temporary.ts";
import { inFolder, PAD, tinyArguments, tinyRows } from "./training/tiny_run.ts";

/** The numbers of one Kea. */
interface KeaConfig extends ModelConfig {
  readonly heads: number;
  readonly eps: number;
}

/** `w ∘ (x − mean(x)) / √(var(x) + ε) + b` (Ba et al., arXiv:1607.06450). */
class LayerNorm extends Module {
  declare weight: Tensor;
  declare bias: Tensor;

  constructor(readonly size: number, readonly eps: number) {
    super();
  }

  override parameterSpecs(): readonly ParameterSpec[] {
    return [
      { name: "weight", shape: [this.size], init: "ones" },
      { name: "bias", shape: [this.size], init: "zeros" },
    ];
  }

  forward(input: Tensor): Tensor {
    const centred = input.add(aten.meanDim(input, [-1], true), -1);
    return aten.rmsNorm(centred, [this.size], this.weight, this.eps)
      .add(this.bias);
  }
}

class KeaLayer extends DecoderLayer {
  ln_1: LayerNorm;
  c_attn: Projection;
  c_proj: Projection;
  ln_2: LayerNorm;
  c_fc: Projection;
  c_out: Projection;

  constructor(readonly config: KeaConfig) {
    super();
    const { hiddenSize: size, eps } = config;
    const linear = (inFeatures: number, outFeatures: number): Linear =>
      new Linear({ inFeatures, outFeatures, bias: true });
    this.ln_1 = new LayerNorm(size, eps);
    this.c_attn = linear(size, 3 * size);
    this.c_proj = linear(size, size);
    this.ln_2 = new LayerNorm(size, eps);
    this.c_fc = linear(size, 4 * size);
    this.c_out = linear(4 * size, size);
  }

  override forward(
    hidden: Tensor,
    context: BatchContext,
    cache?: KeyValueCache,
  ): Tensor {
    const { hiddenSize, heads } = this.config;
    const { rows, length } = context;
    const fused = this.c_attn.forward(this.ln_1.forward(hidden));
    const part = (index: number): Tensor => {
      const from = index * hiddenSize;
      const own = aten.slice(fused, 1, from, from + hiddenSize);
      const size = hiddenSize / heads;
      // [rows, heads, length, headSize]
      return aten.transpose(
        aten.reshape(own, [rows, length, heads, size]),
        1,
        2,
      );
    };
    const [query, ownKeys, ownValues] = [part(0), part(1), part(2)];
    const seen = cache?.append(ownKeys, ownValues) ??
      { keys: ownKeys, values: ownValues };
    const mixed = aten.transpose(attention({ query, ...seen }, context), 1, 2);
    const flat = aten.reshape(mixed, [rows * length, hiddenSize]);
    const attended = this.c_proj.forward(flat, hidden);
    const wide = aten.silu(this.c_fc.forward(this.ln_2.forward(attended)));
    return this.c_out.forward(wide, attended);
  }
}

class KeaForCausalLm extends CausalLm {
  override readonly outputEmbeddingsPath = "lm_head";
  wte: Embedding;
  wpe: Embedding;
  h: ModuleList<KeaLayer>;
  ln_f: LayerNorm;
  lm_head: Projection;

  constructor(override readonly config: KeaConfig) {
    super();
    const { hiddenSize, vocabSize, maxPositions, layers, eps } = config;
    this.wte = new Embedding(vocabSize, hiddenSize);
    this.wpe = new Embedding(maxPositions, hiddenSize);
    this.h = new ModuleList(
      Array.from({ length: layers }, () => new KeaLayer(config)),
    );
    this.ln_f = new LayerNorm(hiddenSize, eps);
    this.lm_head = new Linear({
      inFeatures: hiddenSize,
      outFeatures: vocabSize,
    });
  }

  override get decoderLayers(): readonly KeaLayer[] {
    return this.h.items;
  }

  override inputEmbeddings(): Embedding {
    return this.wte;
  }

  override embed(ids: Tensor, context: BatchContext): Tensor {
    return this.wte.forward(ids).add(this.wpe.forward(context.positionIds()));
  }

  override head(hidden: Tensor): Tensor {
    return this.lm_head.forward(this.ln_f.forward(hidden));
  }
}

registerFamily({
  name: "Kea",
  modelTypes: ["kea"],
  architectures: ["KeaForCausalLM"],
  readConfig(reader: ConfigReader): KeaConfig {
    reader.refuse("activation", (value) => value === "silu");
    const hiddenSize = reader.count("n_embd", 16);
    const heads = reader.count("n_head", 2);
    if (hiddenSize % heads !== 0) {
      reader.problems.push(`n_embd ${hiddenSize} must divide by n_head`);
    }
    return {
      modelType: "kea",
      path: reader.path,
      source: reader.json,
      hiddenSize,
      heads,
      layers: reader.layers("n_layer", 2),
      vocabSize: reader.count("vocab_size", 96),
      maxPositions: reader.positions("n_positions", 64),
      eps: reader.number("layer_norm_epsilon", 1e-5, { least: 0 }),
      initializerRange: reader.number("initializer_range", 0.3),
      tieWordEmbeddings: reader.flag("tie_word_embeddings", false),
      eosTokenIds: reader.ids("eos_token_id", 2),
      bosTokenId: reader.ids("bos_token_id", 1)[0] ?? null,
    };
  },
  create: (config) => new KeaForCausalLm(config),
});

/** A folder with a fresh Kea in it. */
async function withKea(
  use: (folder: string) => void | Promise<void>,
  fields: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await inFolder(async (folder) => {
    const config = { model_type: "kea", ...fields };
    Deno.writeTextFileSync(`${folder}/config.json`, JSON.stringify(config));
    using model = AutoModelForCausalLM.fromConfig(folder);
    initializeWeights(model, { seed: 5 });
    saveModel(model, folder);
    await use(folder);
  });
}

function logitsOf(
  model: CausalLm,
  ids: readonly number[],
  caches?: readonly KeyValueCache[],
): Float64Array {
  using _scope = tensorScope();
  using _frozen = noGrad();
  const row = tensor([ids], { dtype: "int64" });
  return model.forward(row, caches === undefined ? {} : { caches }).toArray();
}

Deno.test("registerFamily() lets a folder of a family of one's own initialise, save and load", () =>
  withKea((folder) => {
    const tree = AutoModelForCausalLM.fromConfig(readConfig(folder));
    checkWeights(tree);
    using model = AutoModelForCausalLM.fromPretrained(tree);
    assert.equal(model, tree);
    const named = [...model.namedParameters()];
    assert.equal(named.length, 2 + 2 * 12 + 2 + 1);
    const norm = named.find(({ path }) => path === "h.1.ln_2.weight")!;
    assert.deepEqual(new Set(norm.tensor.toArray()), new Set([1]));
    const saved = `${folder}/again`;
    saveModel(model, saved);
    assert.deepEqual(
      Deno.readFileSync(`${saved}/model.safetensors`),
      Deno.readFileSync(`${folder}/model.safetensors`),
    );
    using again = AutoModelForCausalLM.fromPretrained(saved);
    assert.deepEqual(logitsOf(again, [1, 5, 6]), logitsOf(model, [1, 5, 6]));
    assert.deepEqual(model.runState(), {});
  }));

Deno.test("registerFamily() ties head and embedding of a family of one's own where its config says so", () =>
  withKea((folder) => {
    using model = AutoModelForCausalLM.fromPretrained(folder);
    const [first, head] = ["wte.weight", "lm_head.weight"].map((name) =>
      [...model.namedParameters()].find(({ path }) => path === name)?.tensor
    );
    assert.equal(head, first);
  }, { tie_word_embeddings: true }));

Deno.test("registerFamily() gives a family of one's own the same refusals as the built-in ones", () =>
  withKea((folder) => {
    const refusal = (fields: Readonly<Record<string, unknown>>): string => {
      const config = { model_type: "kea", ...fields };
      Deno.writeTextFileSync(`${folder}/config.json`, JSON.stringify(config));
      return errorOf(() => AutoModelForCausalLM.fromPretrained(folder))
        .replaceAll(folder, "F");
    };
    assert.equal(
      refusal({ activation: "gelu", n_layer: "2", n_embd: 15 }),
      'Cannot compute model "F": in config.json activation "gelu" is not supported; ' +
        'n_embd 15 must divide by n_head; n_layer must be a number, got "2"',
    );
    assert.match(
      refusal({ n_layer: 3 }),
      /^Cannot load weights of "F": "h\.2\.ln_1\.weight" is missing; .*; and 2 more$/,
    );
    assert.equal(
      refusal({ n_positions: 63 }),
      'Cannot load weights of "F": "wpe.weight" has shape [64, 16], config.json asks for [63, 16]',
    );
  }));

Deno.test("generate() with a family of one's own is greedy search without a cache", () =>
  withKea((folder) => {
    using model = AutoModelForCausalLM.fromPretrained(folder);
    const ids = [1, 17, 40];
    for (let count = 0; count < 12; count++) {
      const logits = logitsOf(model, ids).slice(-96);
      ids.push(logits.indexOf(Math.max(...logits)));
    }
    const options = { maxNewTokens: 12, eosTokenIds: [] };
    assert.deepEqual([...generate(model, [1, 17, 40], options)], ids.slice(3));
  }));

interface Run {
  readonly losses: number[];
  readonly adapter: Uint8Array;
}

/** Six steps with an adapter; from `checkpoint` on where one is given. */
async function trained(
  folder: string,
  options: { out: string; checkpointing?: boolean; checkpoint?: string },
): Promise<Run> {
  using base = AutoModelForCausalLM.fromPretrained(folder);
  using model = getPeftModel(base, {
    r: 4,
    lora_dropout: 0.1,
    target_modules: "all-linear",
  }, { seed: 1 });
  const losses: number[] = [];
  using trainer = new Trainer({
    model,
    tokenizer: PAD,
    args: tinyArguments({
      output_dir: options.out,
      max_steps: 6,
      save_strategy: "steps",
      save_steps: 2,
      gradient_checkpointing: options.checkpointing ?? false,
    }),
    trainDataset: tinyRows(8),
    callbacks: [{ onStepEnd: ({ loss }) => losses.push(loss) }],
  });
  await trainer.train(
    options.checkpoint ? { resumeFromCheckpoint: options.checkpoint } : {},
  );
  trainer.saveModel();
  const adapter = Deno.readFileSync(`${options.out}/adapter_model.safetensors`);
  return { losses, adapter };
}

Deno.test("Trainer trains a family of one's own, with gradient checkpointing too, and resumes to the byte", () =>
  withKea(async (folder) => {
    const whole = await trained(folder, { out: `${folder}/whole` });
    assert.equal(whole.losses.length, 6);
    assert(whole.losses.at(-1)! < whole.losses[0]!, whole.losses.join());
    const again = await trained(folder, {
      out: `${folder}/recomputed`,
      checkpointing: true,
    });
    assertClose(again.losses, whole.losses, { limit: 1e-5 });
    const resumed = await trained(folder, {
      out: `${folder}/resumed`,
      checkpoint: `${folder}/whole/checkpoint-2`,
    });
    assert.deepEqual(resumed.losses, whole.losses.slice(2));
    assert.deepEqual(resumed.adapter, whole.adapter);
    using base = AutoModelForCausalLM.fromPretrained(folder);
    const before = logitsOf(base, [1, 5, 6]);
    using _adapter = PeftModel.fromPretrained(base, `${folder}/whole`);
    assert.notDeepEqual(logitsOf(base, [1, 5, 6]), before);
  }));

Deno.test("registerFamily() refuses names that belong to another family, and takes the same one twice", () => {
  const family = {
    name: "Other",
    modelTypes: ["other", "llama"],
    architectures: ["LlamaForCausalLM"],
    readConfig: (): ModelConfig => assert.fail(),
    create: (): CausalLm => assert.fail(),
  };
  assert.throws(() => registerFamily(family), {
    name: "RangeError",
    message:
      'Cannot register family "Other": "llama", "LlamaForCausalLM" belongs to family "Llama"',
  });
  const fine = { ...family, modelTypes: ["other"], architectures: [] };
  registerFamily(fine);
  registerFamily(fine);
});

Deno.test("a model of a family of one's own sees no token that comes later", () =>
  withKea((folder) => {
    using model = AutoModelForCausalLM.fromPretrained(folder);
    const all = logitsOf(model, [1, 5, 6, 7]);
    assertClose(all.slice(0, 3 * 96), logitsOf(model, [1, 5, 6]), {
      limit: 1e-6,
    });
    const moved = logitsOf(model, [5, 1, 6, 7]).slice(-96);
    assert.notDeepEqual(moved, all.slice(-96));
  }));
