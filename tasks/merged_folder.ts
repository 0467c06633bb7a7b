/**
 * What stands beside the weights in the folder of a
 * merged model: tokenizer, chat template, generation settings, and the model's own
 * code, which others may need to load it.
 *
 * @module
 */

import { writeFileAtomic } from "../lib/formats/atomic_file.ts";
import { isFile } from "../lib/formats/file_info.ts";
import { readJsonFile } from "../lib/formats/json_file.ts";
import {
  type PythonJson,
  writePythonJson,
} from "../lib/formats/python_json.ts";
import {
  adapterTemplate,
  CHAT_TEMPLATE_FILE,
  chatPrompt,
} from "../lib/generation/mod.ts";
import { AutoTokenizer, InputError } from "../mod.ts";
import { warn } from "./report_error.ts";

/** What stands beside a model's weights. */
export interface BesideWeights {
  /** Path of the base model. */
  readonly modelPath: string;
  /** Its tokenizer, `null` where it has none that can be read. */
  readonly tokenizer: AutoTokenizer | null;
  /** The chat template that the adapter was trained with, `null` for the model's own. */
  readonly chatTemplate: string | null;
  /** Ids that end an answer in that template. */
  readonly endIds: readonly number[];
}

/** Reads what stands beside the weights of `modelPath` and `adapter`. */
export async function besideWeights(
  modelPath: string,
  adapter: string | null,
): Promise<BesideWeights> {
  const tokenizer = await tokenizerOf(modelPath);
  const chatTemplate = adapter === null ? null : adapterTemplate(adapter);
  const prompt = tokenizer === null || chatTemplate === null
    ? null
    : await chatPrompt(tokenizer, { adapter });
  const endIds = prompt?.endIds ?? [];
  return { modelPath, tokenizer, chatTemplate, endIds };
}

async function tokenizerOf(modelPath: string): Promise<AutoTokenizer | null> {
  try {
    return await AutoTokenizer.fromPretrained(modelPath);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    warn(`${error.message}; the merged model gets no tokenizer`);
    return null;
  }
}

/** Writes it into `folder`, where `config.json` is already. */
export function writeBeside(folder: string, beside: BesideWeights): void {
  const { modelPath, tokenizer, chatTemplate, endIds } = beside;
  tokenizer?.savePretrained(folder);
  if (chatTemplate !== null) {
    writeFileAtomic(`${folder}/${CHAT_TEMPLATE_FILE}`, chatTemplate);
  }
  writeGeneration(folder, { modelPath, endIds });
  if (!Deno.statSync(modelPath).isDirectory) return;
  for (const { name, isFile } of Deno.readDirSync(modelPath)) {
    if (!isFile || !name.endsWith(".py")) continue;
    const bytes = Deno.readFileSync(`${modelPath}/${name}`);
    writeFileAtomic(`${folder}/${name}`, bytes);
  }
}

/** generation_config.json, in which the ids that end an answer of the template are. */
function writeGeneration(
  folder: string,
  { modelPath, endIds }: Pick<BesideWeights, "modelPath" | "endIds">,
): void {
  const path = `${modelPath}/generation_config.json`;
  const settings = isFile(path) ? readJsonFile(path) : null;
  const config = readJsonFile(`${folder}/config.json`);
  const known = [settings?.eos_token_id ?? config.eos_token_id ?? []].flat();
  const missing = endIds.filter((id) => !known.includes(id));
  if (settings === null && missing.length === 0) return;
  const content = missing.length === 0
    ? settings
    : { ...settings, eos_token_id: [...known, ...missing] };
  writePythonJson(
    `${folder}/generation_config.json`,
    content as PythonJson,
    { trailingNewline: true },
  );
}
