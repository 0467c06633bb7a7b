/**
 * Flat parameters: one place for all numbers, views in the modules, groups by decay.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import { AdamW, FlatParameters } from "../../lib/training/mod.ts";
import { moduleAt } from "../../lib/nn/mod.ts";
import { CPU, liveTensors } from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";
import { MODELS } from "./tiny_run.ts";

Deno.test("FlatParameters moves all parameters, those that decay first, and modules see the flat numbers", () => {
  using model = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_bias`);
  const before = new Map(
    [...model.namedParameters()].map(({ path, tensor }) => [
      path,
      tensor.toArray(),
    ]),
  );
  using flat = new FlatParameters([...model.namedParameters()], CPU);
  const [decaying, plain, ...rest] = flat.groups;
  assert.deepEqual(rest, []);
  assert.deepEqual([decaying!.decays, plain!.decays], [true, false]);
  assert.equal(decaying!.end, plain!.start);
  assert.equal(plain!.end, flat.values.size);
  for (const { path, start } of flat.entries) {
    const exempt = /norm\.weight$|\.bias$|layernorm/.test(path);
    assert.equal(start >= plain!.start, exempt, path);
  }
  for (const { path, tensor } of model.namedParameters()) {
    assert.deepEqual(tensor.toArray(), before.get(path), path);
  }
  flat.values.fill(3);
  const weight = moduleAt(model, "model.norm").parameter("weight")!;
  assert(weight.toArray().every((each) => each === 3));
  assert(weight.requiresGrad);
});

Deno.test("FlatParameters keeps weight decay off the norms of heads", () => {
  using model = AutoModelForCausalLM.fromPretrained(
    "tests/fixtures/families/qwen3",
  );
  using flat = new FlatParameters([...model.namedParameters()], CPU);
  const norms = flat.entries.filter(({ path }) => /[qk]_norm/.test(path));
  assert(norms.length >= 4);
  for (const { path, start } of norms) {
    assert(start >= flat.groups[1]!.start, path);
  }
});

Deno.test("FlatParameters moves a tensor that hangs in two places once", () => {
  using model = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_tied`);
  using flat = new FlatParameters([...model.namedParameters()], CPU);
  const paths = flat.entries.map(({ path }) => path);
  assert(paths.includes("model.embed_tokens.weight"));
  assert(!paths.includes("lm_head.weight"));
  const head = moduleAt(model, "lm_head").parameter("weight");
  const embedding = moduleAt(model, "model.embed_tokens");
  assert.equal(head, embedding.parameter("weight"));
});

Deno.test("FlatParameters leaves the model its weights when disposed, and frees the rest", () => {
  const before = liveTensors();
  {
    using model = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_tied`);
    const live = liveTensors();
    for (const value of [2, 3]) {
      using flat = new FlatParameters([...model.namedParameters()], CPU);
      flat.values.fill(value);
    }
    assert.equal(liveTensors(), live);
    const weight = moduleAt(model, "model.norm").parameter("weight")!;
    assert(weight.toArray().every((each) => each === 3));
    assert(!weight.requiresGrad);
  }
  assert.equal(liveTensors(), before);
});

Deno.test("AdamW decays the decaying group only", () => {
  using model = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_bias`);
  using flat = new FlatParameters([...model.namedParameters()], CPU);
  using optimizer = new AdamW(flat, { weightDecay: 0.5 });
  flat.values.fill(1);
  optimizer.step(0.1);
  const border = flat.groups[1]!.start;
  const values = flat.values.toArray();
  // Gradients are zero: p ← p(1 − ηλ) where it decays, else p.
  assertClose(values.slice(0, border), values.slice(0, border).fill(0.95), {
    limit: 1e-7,
  });
  assert(values.slice(border).every((each) => each === 1));
});

Deno.test("AdamW takes the steps of its formula", () => {
  using model = AutoModelForCausalLM.fromPretrained(`${MODELS}/llama_gqa`);
  using flat = new FlatParameters([...model.namedParameters()], CPU);
  using optimizer = new AdamW(flat, { betas: [0.8, 0.9], eps: 1e-3 });
  flat.values.fill(1);
  let [p, m, v] = [1, 0, 0];
  for (const [index, g] of [0.5, -2, 0.1].entries()) {
    flat.gradients.fill(g);
    optimizer.step(0.01);
    m = 0.8 * m + 0.2 * g;
    v = 0.9 * v + 0.1 * g * g;
    const [c1, c2] = [1 - 0.8 ** (index + 1), 1 - 0.9 ** (index + 1)];
    p -= 0.01 / c1 * m / (Math.sqrt(v) / Math.sqrt(c2) + 1e-3);
    const [first] = flat.values.toArray();
    assertClose([first!], [p], { limit: 1e-6, what: `step ${index}` });
  }
  assert.equal(optimizer.scalars.step, 3);
});
