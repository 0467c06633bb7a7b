/**
 * The question that is answered before and after training, in the prompt format of
 * the training data.
 *
 * @module
 */

import {
  type AutoTokenizer,
  type CausalLm,
  generate,
  TextStream,
} from "../mod.ts";
import { type ChatPrompt, endsOf } from "../lib/generation/mod.ts";

const MAX_NEW_TOKENS = 64;

/** A question, with the prompt format and the tokenizer. */
export interface Asking {
  readonly question: string;
  readonly prompt: ChatPrompt;
  readonly tokenizer: AutoTokenizer;
}

/** The greedy answer of `model`, as one line. */
export async function answer(
  model: CausalLm,
  { question, prompt, tokenizer }: Asking,
): Promise<string> {
  const asked = await prompt.encode([{ role: "user", content: question }]);
  const stream = new TextStream(tokenizer);
  let text = "";
  const ids = generate(model, asked, {
    doSample: false,
    maxNewTokens: MAX_NEW_TOKENS,
    eosTokenIds: endsOf(model, prompt),
  });
  for (const id of ids) text += stream.push(id);
  return (text + stream.end()).trim().replace(/\s+/g, " ");
}
