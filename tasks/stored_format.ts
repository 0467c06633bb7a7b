/**
 * The prompt format that an adapter was trained in, as its folder tells: by name in
 * `training_args.json`, else by the chat template beside the weights.
 *
 * @module
 */

import { hasRecipeFrame, type StoredFormat } from "../lib/data/mod.ts";
import { CHAT_TEMPLATE_FILE } from "../lib/generation/mod.ts";

/**
 * The prompt format of the adapter in `folder`; `null` where there is no folder or
 * it tells none.
 */
export function readStoredFormat(folder: string | null): StoredFormat | null {
  if (folder === null) return null;
  const name = storedName(`${folder}/training_args.json`);
  if (name !== null) return { name, folder };
  const chatTemplate = textOf(`${folder}/${CHAT_TEMPLATE_FILE}`);
  if (chatTemplate === null) return null;
  return hasRecipeFrame(chatTemplate)
    ? { name: "recipe", folder }
    : { name: "chat", chatTemplate, folder };
}

/** Other programs write other things under this name. */
function storedName(path: string): string | null {
  const text = textOf(path);
  if (text === null) return null;
  try {
    const name: unknown = JSON.parse(text)?.prompt_format;
    return typeof name === "string" && name !== "auto" ? name : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

function textOf(path: string): string | null {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
