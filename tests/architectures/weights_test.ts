/**
 * Weights that do not fit a `config.json`: refused from the headers of the files,
 * whatever sizes the config names, before anything is built or loaded.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  checkWeights,
  readConfig,
} from "../../lib/architectures/mod.ts";
import type { TensorData } from "../../lib/formats/dtype.ts";
import {
  readSafetensors,
  writeSafetensors,
} from "../../lib/formats/safetensors.ts";
import { writeTorchArchive } from "../../lib/formats/torch_archive.ts";
import { liveTensors } from "../../lib/tensor/mod.ts";
import { errorOf, inFolder } from "../formats/temporary.ts";

const MODELS = "tests/fixtures/models";

/** A copy of the fixture `name` with other fields in `config.json`, and other tensors. */
function changed(
  folder: string,
  name: string,
  change: {
    fields?: Readonly<Record<string, unknown>>;
    tensors?: (tensors: Map<string, TensorData>) => void;
  },
): string {
  const source = `${MODELS}/${name}`;
  const json = JSON.parse(Deno.readTextFileSync(`${source}/config.json`));
  Deno.writeTextFileSync(
    `${folder}/config.json`,
    JSON.stringify({ ...json, ...change.fields }),
  );
  const tensors = readSafetensors(`${source}/model.safetensors`);
  change.tensors?.(tensors);
  writeSafetensors(`${folder}/model.safetensors`, tensors);
  return folder;
}

/** What loading says, and milliseconds. */
function refusal(folder: string): { message: string; took: number } {
  const started = performance.now();
  const message = errorOf(() => AutoModelForCausalLM.fromPretrained(folder));
  return {
    message: message.replaceAll(folder, "F"),
    took: performance.now() - started,
  };
}

const SIZES: readonly [Readonly<Record<string, unknown>>, RegExp][] = [
  [
    { num_hidden_layers: 1_000_000 },
    /^Cannot compute model "F": in config\.json num_hidden_layers must be at most 2000, got 1000000$/,
  ],
  [
    { num_hidden_layers: 2000 },
    /^Cannot load weights of "F": config\.json asks for 2000 layers, the weights have 2\d tensors$/,
  ],
  [
    { vocab_size: 16_777_216 },
    /^Cannot load weights of "F": "model\.embed_tokens\.weight" has shape \[96, 32\], config\.json asks for \[16777216, 32\]; "lm_head/,
  ],
  [
    { vocab_size: 1e15 },
    /vocab_size must be at most 16777216, got 1000000000000000$/,
  ],
  [
    { intermediate_size: 1_000_000 },
    /"model\.layers\.0\.mlp\.gate_proj\.weight" has shape .* asks for \[1000000, 32\]/,
  ],
  [
    { hidden_size: 8_388_608, num_attention_heads: 65_536 },
    /asks for \[96, 8388608\]/,
  ],
];

for (const [fields, message] of SIZES) {
  Deno.test(`AutoModelForCausalLM.fromPretrained() refuses ${JSON.stringify(fields)} in milliseconds`, () => {
    const before = liveTensors();
    inFolder((folder) => {
      changed(folder, "llama_gqa", { fields });
      const { message: found, took } = refusal(folder);
      assert.match(found, message);
      assert(took < 500, `${took} ms`);
    });
    assert.equal(liveTensors(), before);
  });
}

Deno.test("checkWeights() says from the header what loading would say, without weights", () => {
  inFolder((folder) => {
    changed(folder, "llama_gqa", {
      tensors: (tensors) => tensors.delete("model.norm.weight"),
    });
    const before = liveTensors();
    const tree = AutoModelForCausalLM.fromConfig(readConfig(folder));
    const message = errorOf(() => checkWeights(tree));
    assert.equal(
      message,
      `Cannot load weights of "${folder}": "model.norm.weight" is missing`,
    );
    assert.equal(liveTensors(), before);
    assert.equal(
      errorOf(() => AutoModelForCausalLM.fromPretrained(tree)),
      message,
    );
  });
});

/** Stores a head beside the embedding of `llama_tied`, its first byte changed by `by`. */
function withHead(by: number): (tensors: Map<string, TensorData>) => void {
  return (tensors) => {
    const embedding = tensors.get("model.embed_tokens.weight")!;
    const bytes = embedding.bytes.slice();
    bytes[bytes.length - 1] = (bytes.at(-1)! + by) % 256;
    tensors.set("lm_head.weight", { ...embedding, bytes });
  };
}

Deno.test("AutoModelForCausalLM.fromPretrained() refuses a stored head that is not the embedding where config.json ties them", () => {
  inFolder((folder) => {
    changed(folder, "llama_tied", { tensors: withHead(1) });
    assert.equal(
      refusal(folder).message,
      'Cannot load weights of "F": "lm_head.weight" is not the same as "model.embed_tokens.weight", ' +
        "but config.json says tie_word_embeddings; set that to false to use the stored head, " +
        "or leave the head out of the weights",
    );
  });
});

Deno.test("AutoModelForCausalLM.fromPretrained() refuses a stored head of another type where config.json ties it", () => {
  inFolder((folder) => {
    changed(folder, "llama_tied", {
      tensors: (tensors) => {
        const { shape } = tensors.get("model.embed_tokens.weight")!;
        const bytes = new Uint8Array(2 * shape[0]! * shape[1]!);
        tensors.set("lm_head.weight", { dtype: "float16", shape, bytes });
      },
    });
    assert.match(refusal(folder).message, /"lm_head\.weight" is not the same/);
  });
});

Deno.test("AutoModelForCausalLM.fromPretrained() takes a stored head that is the embedding, in safetensors and in a torch archive", () => {
  inFolder((folder) => {
    changed(folder, "llama_tied", { tensors: withHead(0) });
    {
      using model = AutoModelForCausalLM.fromPretrained(folder);
      const [first, last] = [0, -1].map((at) =>
        [...model.namedParameters()].at(at)!.tensor
      );
      assert.equal(first, last);
    }
    const tensors = readSafetensors(`${folder}/model.safetensors`);
    Deno.removeSync(`${folder}/model.safetensors`);
    writeTorchArchive(`${folder}/pytorch_model.bin`, tensors);
    using model = AutoModelForCausalLM.fromPretrained(folder);
    assert.equal(model.config.tieWordEmbeddings, true);
  });
});

Deno.test("AutoModelForCausalLM.fromPretrained() uses the stored head once tie_word_embeddings is false", () => {
  inFolder((folder) => {
    changed(folder, "llama_tied", {
      fields: { tie_word_embeddings: false },
      tensors: withHead(1),
    });
    using model = AutoModelForCausalLM.fromPretrained(folder);
    const [first, last] = [0, -1].map((at) =>
      [...model.namedParameters()].at(at)!.tensor.toArray()
    );
    assert.notDeepEqual(last, first);
  });
});

Deno.test("AutoModelForCausalLM.fromPretrained() refuses a head at the embedding's place that is turned", () => {
  inFolder((folder) => {
    const forms = "tests/fixtures/checkpoints";
    const json = JSON.parse(
      Deno.readTextFileSync(`${forms}/plain/config.json`),
    );
    Deno.writeTextFileSync(
      `${folder}/config.json`,
      JSON.stringify({ ...json, vocab_size: 8 }),
    );
    Deno.copyFileSync(
      `${forms}/turned_head.bin`,
      `${folder}/pytorch_model.bin`,
    );
    assert.match(
      refusal(folder).message,
      /"lm_head\.weight" is not the same as "model\.embed_tokens\.weight"/,
    );
  });
});
