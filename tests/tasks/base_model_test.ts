/**
 * An adapter finds the model it was trained on; what is not a folder of a model or of
 * an adapter is answered with what to do.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  baseModelOf,
  checkAdapterFolder,
  checkModelFolder,
  checkOutputPath,
  checkRowsPath,
} from "../../tasks/base_model.ts";
import { errorOf, inFolder } from "../formats/temporary.ts";

/** Makes an adapter folder whose base is written as `base`. */
function writeAdapterConfig(path: string, base: string | null): void {
  Deno.mkdirSync(path, { recursive: true });
  Deno.writeTextFileSync(
    `${path}/adapter_config.json`,
    JSON.stringify({
      peft_type: "LORA",
      r: 2,
      target_modules: ["q_proj"],
      base_model_name_or_path: base,
    }),
  );
}

Deno.test("baseModelOf() takes the base as written, from here or from the adapter's folder", () => {
  inFolder((folder) => {
    const adapter = `${folder}/runs/adapter`;
    writeAdapterConfig(adapter, "models/tiny-atom");
    assert.equal(baseModelOf(adapter), "models/tiny-atom");
    Deno.mkdirSync(`${folder}/the-base`);
    writeAdapterConfig(adapter, `${folder}/the-base`);
    assert.equal(baseModelOf(adapter), `${folder}/the-base`);
    writeAdapterConfig(adapter, "../../the-base");
    assert.equal(
      Deno.realPathSync(baseModelOf(adapter)),
      Deno.realPathSync(`${folder}/the-base`),
    );
  });
});

Deno.test("baseModelOf() names --model_path where the base is not here or not written", () => {
  inFolder((folder) => {
    const said = (base: string | null): string => {
      writeAdapterConfig(folder, base);
      return errorOf(() => baseModelOf(folder)).replaceAll(folder, "F");
    };
    assert.equal(
      said(null),
      'Cannot find the base model of adapter "F": its adapter_config.json ' +
        "names no base model, expected --model_path",
    );
    assert.equal(
      said("/gone/model"),
      'Cannot find the base model of adapter "F": its adapter_config.json ' +
        'names "/gone/model", which is not a folder on this machine, expected --model_path ' +
        "with the folder of that model",
    );
    assert.match(
      said("some-owner/some-model"),
      /expected --model_path .*Hugging Face Hub are not downloaded: download it to a folder$/,
    );
  });
});

Deno.test("checkModelFolder() answers a name of the Hub, a typo, a file and an adapter", () => {
  const said = (path: string): string => errorOf(() => checkModelFolder(path));
  assert.match(
    said("some-owner/Some-7b"),
    /^Cannot load model "some-owner\/Some-7b": there is no such folder, and nothing is downloaded from the Hugging Face Hub: download it yourself \(hf download some-owner\/Some-7b --local-dir models\/Some-7b\)/,
  );
  assert.match(
    said("https://hub.example/some-owner/Some-7b/tree/main"),
    / nothing is downloaded .*\(hf download some-owner\/Some-7b --local-dir models\/Some-7b\)/,
  );
  // the folder models lies here, so this is a path with a typo
  assert.match(
    said("models/tiny-atam"),
    /^Cannot load model "models\/tiny-atam": there is no such folder, expected one with config\.json and weights, named with --model_path$/,
  );
  assert.match(said("models/README.md"), /: it is a file, expected the folder/);
  assert.match(said("models"), /: it has no config\.json, /);
  inFolder((folder) => {
    writeAdapterConfig(folder, null);
    assert.match(said(folder), /: it holds an adapter and no model, /);
  });
  checkModelFolder("models/tiny-atom");
  checkModelFolder("tests/fixtures/gguf/llama.gguf");
});

Deno.test("checkRowsPath() answers a data set of the Hub, checkOutputPath() a file", () => {
  assert.match(
    errorOf(() => checkRowsPath("some-owner/rows")),
    /^Cannot read rows from "some-owner\/rows": .* nothing is downloaded from the Hugging Face Hub/,
  );
  checkRowsPath("some-owner/rows.jsonl");
  checkRowsPath("dataset/huanhuan.jsonl");
  assert.equal(
    errorOf(() => checkOutputPath("README.md")),
    'Cannot write into "README.md": it is a file, expected a folder as ' +
      "--output_dir",
  );
  checkOutputPath("no-such-folder");
  checkOutputPath("models");
});

Deno.test("checkAdapterFolder() names the newest checkpoint of a run that was stopped", () => {
  inFolder((folder) => {
    const said = (path: string): string =>
      errorOf(() => checkAdapterFolder(path, "--adapter"))
        .replaceAll(folder, "F");
    assert.match(said(folder), /: it has no adapter_config\.json, expected/);
    assert.match(said(`${folder}/no`), /: there is no such folder, expected/);
    assert.match(
      said("some-owner/adapter"),
      /: there is no such folder, and nothing is downloaded from the Hugging Face Hub: /,
    );
    for (const step of [9, 10]) {
      const checkpoint = `${folder}/checkpoint-${step}`;
      writeAdapterConfig(checkpoint, null);
      Deno.writeTextFileSync(`${checkpoint}/trainer_state.json`, "{}");
      checkAdapterFolder(checkpoint, "--adapter");
    }
    assert.equal(
      said(folder),
      'Cannot load adapter "F": its run was interrupted and has only ' +
        "checkpoints, expected one of them, the newest is --adapter F/checkpoint-10",
    );
  });
});
