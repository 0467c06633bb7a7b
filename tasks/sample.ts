/**
 * The question that is answered before and after training, in the words of the
 * training data.
 *
 * @module
 */

import { writeFileAtomic } from "../lib/formats/atomic_file.ts";
import {
  adapterChatTemplate,
  type AutoTokenizer,
  type CausalLm,
  CHAT_TEMPLATE_FILE,
  generate,
  promptFrame,
  promptOf,
  TextStream,
} from "../mod.ts";

const MAX_NEW_TOKENS = 64;

/** How questions are asked of a model that learns from some rows. */
export interface Asking {
  /** The instruction before each question. */
  readonly instruction: string;
  readonly tokenizer: AutoTokenizer;
}

/** The greedy answer of `model`, as one line. */
export async function answer(
  model: CausalLm,
  asked: Asking & { readonly question: string },
): Promise<string> {
  const { tokenizer, instruction, question } = asked;
  const prompt = await tokenizer.encode(
    promptOf({ instruction, input: question }),
  );
  const stream = new TextStream(tokenizer);
  let text = "";
  const ids = generate(model, prompt, {
    doSample: false,
    maxNewTokens: MAX_NEW_TOKENS,
  });
  for (const id of ids) text += stream.push(id);
  return (text + stream.end()).trim().replace(/\s+/g, " ");
}

/** Writes the prompt of the training data beside the adapter, where chat finds it. */
export async function writeChatTemplate(
  folder: string,
  { instruction, tokenizer }: Asking,
): Promise<void> {
  writeFileAtomic(
    `${folder}/${CHAT_TEMPLATE_FILE}`,
    adapterChatTemplate(instruction, await promptFrame(tokenizer)),
  );
}
