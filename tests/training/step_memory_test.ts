/**
 * What the estimate of a step's memory counts, on the sizes of a tiny Llama. That it is
 * right for a running process is measured by `bench/memory.ts`.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  type CausalLm,
  dataCollator,
} from "../../mod.ts";
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

const treeWithVocabulary = (vocab_size: number): LlamaForCausalLm =>
  new LlamaForCausalLm(llamaConfig("tiny", {
    hidden_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    intermediate_size: 96,
    vocab_size,
  }));
const TREE = treeWithVocabulary(1000);
const WIDE_HEAD = treeWithVocabulary(200_000);
const BATCH = { tokens: 100, trained: 40, length: null };
const ALL = targetTree(TREE).linearPaths.filter((path) => /_proj$/.test(path));
const FORM: StepForm = {
  targeted: ALL,
  dropout: false,
  held: "float32",
  autocast: false,
};
/** Memory of the heap for a byte of tensors. */
const HEAP = 1.6;

/** Numbers that a layer keeps for each token. */
function layerNumbers(
  form: Partial<StepForm>,
  { tree = TREE, length = null }: {
    readonly tree?: CausalLm;
    readonly length?: number | null;
  } = {},
): number {
  const batch = { ...BATCH, length };
  const { layer } = stepMemory(tree, batch, { ...FORM, ...form });
  return Math.round(layer / batch.tokens / HEAP / 4 * 100) / 100;
}

/** What norms give; q, k, v, o; rotated q and k; attention's result; gate, up, down. */
const ALWAYS = 2 * 64 + (64 + 32 + 32 + 64) + (64 + 32) + 64 + (2 * 96 + 64);

Deno.test("stepMemory() counts what operations of a layer read and give, adapted or not, and masks of dropout", () => {
  assert.equal(layerNumbers({ targeted: [] }), ALWAYS);
  assert.equal(layerNumbers({}), ALWAYS);
  // one byte for each element of the inputs of q, k, v, o, gate, up and down
  assert.equal(layerNumbers({ dropout: true }), ALWAYS + (6 * 64 + 96) / 4);
  const adapted = ALL.filter((path) => path.endsWith("q_proj"));
  assert.equal(
    layerNumbers({ dropout: true, targeted: adapted }),
    ALWAYS + 64 / 4,
  );
});

Deno.test("stepMemory() counts keys and values that are repeated for rows of one length, and the weights of short ones", () => {
  assert.equal(layerNumbers({}, { length: 200 }), ALWAYS + 2 * 64);
  assert.equal(layerNumbers({}, { length: 50 }), ALWAYS + 3 * 64 + 4 * 50);
  const half = stepMemory(TREE, { ...BATCH, length: 50 }, {
    ...FORM,
    held: "bfloat16",
  });
  const numbers = half.layer / BATCH.tokens / HEAP / 2;
  assert.equal(Math.round(numbers), ALWAYS + 2 * 64);
});

Deno.test("stepMemory() counts scores twice where a cap keeps them, the norms after branches, and a cap's steps of the logits", () => {
  const gemma = treeOf("gemma2", "Gemma2ForCausalLM", { head_dim: 16 });
  assert.equal(
    layerNumbers({}, { tree: gemma, length: 200 }),
    // four norms and two sums instead of two norms
    ALWAYS + 4 * 64 + 3 * 64 + 2 * 4 * 200,
  );
  const plain = stepMemory(TREE, BATCH, FORM).logits;
  assert.equal(stepMemory(gemma, BATCH, FORM).logits, plain / 4 * 7);
});

Deno.test("stepMemory() counts four tables of logits of one part of the trained tokens", () => {
  assert.equal(stepMemory(TREE, BATCH, FORM).logits, HEAP * 4 * 40 * 1000 * 4);
  const many = { ...BATCH, trained: 1e5 };
  const most = Math.floor(2 ** 22 / 1000);
  assert.equal(
    Math.round(stepMemory(TREE, many, FORM).logits),
    Math.round(HEAP * 4 * most * 1000 * 4),
  );
  // at least 64 rows; large tables lie beside the heap, without holes
  const table = 64 * WIDE_HEAD.config.vocabSize * 4;
  assert.equal(stepMemory(WIDE_HEAD, many, FORM).logits, 4 * table);
});

Deno.test("stepMemory() counts half the bytes in bfloat16, and more than that with autocast", () => {
  const half = stepMemory(TREE, BATCH, { ...FORM, held: "bfloat16" });
  assert.equal(half.layer, stepMemory(TREE, BATCH, FORM).layer / 2);
  const mixed = stepMemory(TREE, BATCH, { ...FORM, autocast: true });
  // sums on the residual stream in float32; all others in bfloat16: q, k, v, rotated
  // q and k, the result, gate, its activation and up, and a copy for each adapter
  const numbers = 128 + 96 + 64 + 3 * 96 + (6 * 64 + 96);
  assert.equal(
    Math.round(mixed.layer / BATCH.tokens / HEAP),
    4 * 2 * 64 + 2 * numbers,
  );
});

Deno.test("stepMemory() takes no holes into account for tensors that are mapped on their own", () => {
  const many = { tokens: 1e6, trained: 1e5, length: null };
  const { layer } = stepMemory(TREE, many, FORM);
  assert.equal(layer / many.tokens / 4, ALWAYS);
  // what is mapped beside the heap comes on top of what the heap needs
  const large = stepMemory(WIDE_HEAD, { ...BATCH, trained: 1e5 }, FORM);
  assert.equal(
    Math.round(large.kept),
    Math.round(2 * large.layer + large.logits + large.working),
  );
});

Deno.test("stepMemory() with checkpointing keeps the inputs of layers and one layer, whatever their number", () => {
  const { kept, recomputed, hidden, layer, working, logits } = stepMemory(
    TREE,
    BATCH,
    FORM,
  );
  assert.equal(Math.round(hidden), Math.round(HEAP * 100 * 64 * 4));
  assert.equal(Math.round(working), Math.round(HEAP * 100 * 4 * 96 * 4));
  const holes = 2 * ALWAYS * 100 * 4;
  assert.equal(
    Math.round(recomputed),
    Math.round(2 * hidden + holes + layer + working + logits),
  );
  assert.equal(kept, 2 * layer + Math.max(working, logits));
});

/** A tree of the sizes of `TREE` without weights. */
function treeOf(
  model_type: string,
  className: string,
  more: Readonly<Record<string, unknown>> = {},
): CausalLm {
  const folder = Deno.makeTempDirSync();
  try {
    const config = {
      model_type,
      architectures: [className],
      hidden_size: 64,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      intermediate_size: 96,
      vocab_size: 1000,
      pad_token_id: 0,
      ...more,
    };
    Deno.writeTextFileSync(`${folder}/config.json`, JSON.stringify(config));
    return AutoModelForCausalLM.fromConfig(readConfig(folder));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("stepMemory() reads fused projections, MLPs without a gate and experts from the tree", () => {
  assert.equal(
    layerNumbers({}, { tree: treeOf("phi3", "Phi3ForCausalLM") }),
    ALWAYS,
  );
  // one projection and its activation instead of gate and up
  assert.equal(
    layerNumbers({}, { tree: treeOf("starcoder2", "Starcoder2ForCausalLM") }),
    ALWAYS,
  );
  const experts = treeOf("qwen3_moe", "Qwen3MoeForCausalLM", {
    head_dim: 16,
    num_experts: 4,
    num_experts_per_tok: 2,
    moe_intermediate_size: 48,
  });
  assert.equal(
    layerNumbers({}, { tree: experts }),
    ALWAYS - (2 * 96 + 64) + 2 * (3 * 48 + 2 * 64),
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
  // two rows of one length that continue a third are no rectangle
  const branches = [[1, 7, 8, 4, 4, 4], [1, 7, 8, 6, 6, 6]].map((ids) => ({
    input_ids: ids,
    labels: ids,
  }));
  assert.equal(batchSizes(sharedRows(branches)).length, null);
  assert.deepEqual(batchSizes(sharedRows(rows)), {
    tokens: 5,
    trained: 2,
    length: null,
  });
});

Deno.test("stepMemory() counts the holes of no more than eight layers with checkpointing", () => {
  const recomputed = (layers: number): number => {
    const tree = treeOf("llama", "LlamaForCausalLM", {
      num_hidden_layers: layers,
    });
    const memory = stepMemory(tree, BATCH, FORM);
    return memory.recomputed - layers * memory.hidden;
  };
  const holes = ALWAYS * 100 * 4;
  assert.equal(Math.round(recomputed(8) - recomputed(7)), holes);
  assert.equal(Math.round(recomputed(30) - recomputed(8)), 0);
});
