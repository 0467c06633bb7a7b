/**
 * The question that is answered before and after training, in the words of the
 * training data.
 *
 * @module
 */

import {
  adapterChatTemplate,
  type AutoTokenizer,
  type CausalLm,
  generate,
  promptOf,
  readRows,
  TextStream,
  type TrainArguments,
} from "../mod.ts";

const MAX_NEW_TOKENS = 64;

/** A question and how it is asked. */
export interface Sample {
  readonly question: string;
  readonly instruction: string;
  readonly tokenizer: AutoTokenizer;
}

/** The sample that the arguments ask for, with the instruction that most rows have. */
export function sampleOf(
  { finetune }: TrainArguments,
  tokenizer: AutoTokenizer,
): Sample | null {
  const question = finetune.sample_question;
  if (question === null) return null;
  return {
    question,
    tokenizer,
    instruction: commonInstruction(finetune.dataset_path),
  };
}

/** The greedy answer of `model`, as one line. */
export async function answer(model: CausalLm, sample: Sample): Promise<string> {
  const { tokenizer, instruction, question } = sample;
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
export function writeChatTemplate(
  folder: string,
  { finetune }: TrainArguments,
): void {
  const instruction = commonInstruction(finetune.dataset_path);
  Deno.writeTextFileSync(
    `${folder}/chat_template.jinja`,
    adapterChatTemplate(instruction),
  );
}

/** The most frequent instruction of the rows. */
function commonInstruction(path: string): string {
  const counts = new Map<string, number>();
  for (const { instruction } of readRows(path)) {
    counts.set(instruction, (counts.get(instruction) ?? 0) + 1);
  }
  return [...counts].reduce((best, each) => each[1] > best[1] ? each : best)[0];
}
