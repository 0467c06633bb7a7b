/**
 * What the estimate of a step's memory counts, on the sizes of a tiny Llama. That it is
 * right for a running process is measured by `bench/memory.ts`.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM, dataCollator } from "../../mod.ts";
import {
  llamaConfig,
  LlamaForCausalLm,
  readConfig,
} from "../../lib/architectures/mod.ts";
import { sharedRows } from "../../lib/data/mod.ts";
import { targetTree } from "../../lib/peft/mod.ts";
import {
  batchSizes,
  type StepForm,
  stepMemory,
} from "../../lib/training/mod.ts";

const TREE = new LlamaForCausalLm(llamaConfig("tiny", {
  hidden_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 96,
  vocab_size: 1000,
}));
const BATCH = { tokens: 100, trained: 40, length: null };
const ALL = targetTree(TREE).linearPaths.filter((path) => /_proj$/.test(path));
const FORM: StepForm = {
  targeted: ALL,
  dropout: false,
  held: "float32",
  autocast: false,
};
/** The heap's share of holes. */
const HEAP = 1.5;

function layerNumbers(form: Partial<StepForm>, batch = BATCH): number {
  const { layer } = stepMemory(TREE, batch, { ...FORM, ...form });
  return Math.round(layer / batch.tokens / HEAP / 4 * 100) / 100;
}

Deno.test("stepMemory() counts what a layer keeps for each token: norms, heads, gate and up, and the inputs of adapters", () => {
  // two norms; queries, keys, values; gate, its activation, up
  const always = 2 * 64 + 3 * 64 + 3 * 96;
  // the result of attention is kept by the kernel
  assert.equal(layerNumbers({ targeted: [] }), always + 64);
  // inputs of q, k, v; of o, the same tensor as the result; of gate, up; of down
  assert.equal(layerNumbers({}), always + 64 + 64 + 64 + 96);
  // a copy of 4 bytes and a mask of 1 for each
  assert.equal(
    layerNumbers({ dropout: true }),
    always + 64 + 1.25 * (6 * 64 + 96),
  );
});

Deno.test("stepMemory() counts the weights of attention of short rows of one length only", () => {
  const short = { tokens: 100, trained: 40, length: 50 };
  const always = 2 * 64 + 3 * 64 + 3 * 96;
  assert.equal(
    layerNumbers({ targeted: [] }, short as unknown as typeof BATCH),
    always + 4 * 50,
  );
  const long = { ...short, length: 200 };
  assert.equal(
    layerNumbers({ targeted: [] }, long as unknown as typeof BATCH),
    always + 64,
  );
});

Deno.test("stepMemory() counts logits three times, and half the bytes in bfloat16", () => {
  assert.equal(stepMemory(TREE, BATCH, FORM).logits, HEAP * 3 * 40 * 1000 * 4);
  const half = stepMemory(TREE, BATCH, { ...FORM, held: "bfloat16" });
  assert.equal(half.layer, stepMemory(TREE, BATCH, FORM).layer / 2);
  const mixed = stepMemory(TREE, BATCH, { ...FORM, autocast: true });
  assert.ok(half.layer < mixed.layer);
  assert.ok(mixed.layer < stepMemory(TREE, BATCH, FORM).layer);
});

Deno.test("stepMemory() takes no holes into account for tensors that are mapped on their own", () => {
  const many = { tokens: 1e6, trained: 1e5, length: null };
  const { logits, layer } = stepMemory(TREE, many, FORM);
  assert.equal(logits, 3 * 1e5 * 1000 * 4);
  assert.ok(layer / 1e6 < stepMemory(TREE, BATCH, FORM).layer / 100 / 1.4);
});

Deno.test("stepMemory() with checkpointing keeps the inputs of layers and one layer, whatever their number", () => {
  const { kept, recomputed, hidden, layer, working, logits } = stepMemory(
    TREE,
    BATCH,
    FORM,
  );
  assert.equal(recomputed, 2 * hidden + layer + working + logits);
  assert.equal(kept, 2 * layer + Math.max(working, logits));
});

Deno.test("stepMemory() reads fused projections and MLPs without a gate from the tree", () => {
  const config = (model_type: string, className: string): string => {
    const folder = Deno.makeTempDirSync();
    Deno.writeTextFileSync(
      `${folder}/config.json`,
      JSON.stringify({
        model_type,
        architectures: [className],
        hidden_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        intermediate_size: 96,
        vocab_size: 1000,
        pad_token_id: 0,
      }),
    );
    return folder;
  };
  const layerOf = (folder: string): number => {
    const tree = AutoModelForCausalLM.fromConfig(readConfig(folder));
    Deno.removeSync(folder, { recursive: true });
    const { layer } = stepMemory(tree, BATCH, { ...FORM, targeted: [] });
    return layer / BATCH.tokens / HEAP / 4;
  };
  const always = 2 * 64 + 4 * 64;
  assert.equal(
    layerOf(config("phi3", "Phi3ForCausalLM")),
    always + 3 * 96,
  );
  assert.equal(
    layerOf(config("starcoder2", "Starcoder2ForCausalLM")),
    always + 96,
  );
});

Deno.test("batchSizes() counts padding of rectangles, and shared tokens once", () => {
  const labels = [-100, -100, -100, -100, 5];
  const rows = [
    { input_ids: [1, 7, 8, 9, 5], labels },
    { input_ids: [1, 7, 8], labels: [-100, -100, 8] },
  ];
  assert.deepEqual(
    batchSizes(dataCollator(rows, { padTokenId: 0, unkTokenId: null })),
    { tokens: 10, trained: 2, length: 5 },
  );
  assert.deepEqual(batchSizes(sharedRows(rows)), {
    tokens: 5,
    trained: 2,
    length: null,
  });
});
