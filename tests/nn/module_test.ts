/**
 * The module tree: paths as in a checkpoint, places, replacing, modes.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { AutoModelForCausalLM } from "../../lib/architectures/mod.ts";
import {
  joinPath,
  Linear,
  Module,
  moduleAt,
  ModuleList,
} from "../../lib/nn/mod.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { tensor, tensorScope } from "../../lib/tensor/mod.ts";

class Leaf extends Module {}

class Tree extends Module {
  first: Module = new Leaf();
  readonly items: ModuleList<Module> = new ModuleList([new Leaf(), new Leaf()]);
  readonly name = "no child";
}

Deno.test("Module.namedModules() walks parents first, in the order of the fields", () => {
  const paths = [...new Tree().namedModules()].map(([path]) => path);
  assert.deepEqual(paths, ["", "first", "items", "items.0", "items.1"]);
});

Deno.test("Module.namedParameters() has exactly the names of the checkpoint", () => {
  for (const name of ["llama_gqa", "llama_bias"]) {
    const folder = `tests/fixtures/models/${name}`;
    using model = AutoModelForCausalLM.fromPretrained(folder);
    const paths = [...model.namedParameters()].map(({ path }) => path);
    const stored = [...readSafetensors(`${folder}/model.safetensors`).keys()];
    assert.deepEqual(paths.toSorted(), stored.toSorted());
    assert.equal(paths[0], "model.embed_tokens.weight");
    assert.equal(paths.at(-1), "lm_head.weight");
  }
});

Deno.test("moduleAt() finds by path what namedModules() named", () => {
  const tree = new Tree();
  for (const [path, module] of tree.namedModules()) {
    assert.equal(moduleAt(tree, path), module);
  }
  assert.throws(() => moduleAt(tree, "items.2"), {
    name: "RangeError",
    message: 'Cannot find module "items.2": no "2" there',
  });
});

Deno.test("Module.replaceChild() and ModuleList.replaceChild() put a child in the place of another", () => {
  const tree = new Tree();
  const [one, other] = [new Leaf(), new Leaf()];
  tree.replaceChild("first", one);
  tree.items.replaceChild("1", other);
  assert.equal(tree.first, one);
  assert.equal(tree.items.items[1], other);
  assert.equal([...tree.namedModules()].length, 5);
});

Deno.test("Module.setParameter() shows in namedParameters() with its place", () => {
  using _scope = tensorScope();
  const tree = new Tree();
  const layer = new Linear({ inFeatures: 1, outFeatures: 1 });
  tree.items.replaceChild("0", layer);
  assert.deepEqual([...tree.namedParameters()], []);
  const weight = tensor([[1]]);
  layer.setParameter("weight", weight);
  const [found, ...rest] = tree.namedParameters();
  assert.deepEqual(rest, []);
  assert.equal(found!.path, "items.0.weight");
  assert.equal(found!.owner, layer);
  assert.equal(found!.field, "weight");
  assert.equal(found!.tensor, weight);
});

Deno.test("Module.train() sets the mode here and below and gives the module back", () => {
  const tree = new Tree();
  const modes = (): boolean[] =>
    [...tree.namedModules()].map(([, each]) => each.training);
  assert.deepEqual(new Set(modes()), new Set([false]));
  assert.equal(tree.train(), tree);
  assert.deepEqual(new Set(modes()), new Set([true]));
  tree.train(false);
  assert.deepEqual(new Set(modes()), new Set([false]));
});

Deno.test("joinPath() leaves the root out", () => {
  assert.equal(joinPath("", "model"), "model");
  assert.equal(joinPath("model", "norm"), "model.norm");
});
