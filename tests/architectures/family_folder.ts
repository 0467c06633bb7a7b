/**
 * Golden folders of families with other fields in their configs.
 *
 * @module
 */

import {
  AutoModelForCausalLM,
  readConfig,
} from "../../lib/architectures/mod.ts";
import type { TensorData } from "../../lib/formats/dtype.ts";
import { fromData, noGrad, tensorScope } from "../../lib/tensor/mod.ts";
import { errorOf, inFolder } from "../formats/temporary.ts";

/** Folder of the golden folders. */
export const FOLDER = "tests/fixtures/families";

/** Fields of a `config.json`. */
export type Fields = Readonly<Record<string, unknown>>;

/** The config of a golden folder with some fields changed; `undefined` takes one out. */
export function changed(name: string, fields: Fields): string {
  const text = Deno.readTextFileSync(`${FOLDER}/${name}/config.json`);
  return JSON.stringify({ ...JSON.parse(text), ...fields });
}

/** Runs `use` with a copy of a golden folder whose config has other fields. */
export function withFields(
  name: string,
  fields: Fields,
  use: (folder: string) => void,
): void {
  inFolder((folder) => {
    Deno.copyFileSync(
      `${FOLDER}/${name}/model.safetensors`,
      `${folder}/model.safetensors`,
    );
    Deno.writeTextFileSync(`${folder}/config.json`, changed(name, fields));
    use(folder);
  });
}

/** What is wrong with the config of a golden folder once some fields are changed. */
export function refusal(name: string, fields: Fields): string {
  let message = "";
  withFields(name, fields, (folder) => {
    message = errorOf(() => readConfig(folder)).replaceAll(folder, "F");
  });
  return message.replace('Cannot compute model "F": in config.json ', "");
}

/** Logits of the golden ids outside of training. */
export function goldenLogits(
  folder: string,
  golden: ReadonlyMap<string, TensorData>,
): Float64Array {
  using _scope = tensorScope();
  using _frozen = noGrad();
  using model = AutoModelForCausalLM.fromPretrained(folder);
  return model.forward(fromData(golden.get("ids")!)).toArray();
}

/** What `use` makes of a folder that holds only a golden config with other fields. */
export function withConfig<T>(
  name: string,
  fields: Fields,
  use: (folder: string) => T,
): T {
  const made: T[] = [];
  inFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/config.json`, changed(name, fields));
    made.push(use(folder));
  });
  return made[0]!;
}
