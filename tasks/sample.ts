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
export async function writeChatTemplate(
  folder: string,
  run: {
    readonly finetune: TrainArguments["finetune"];
    readonly tokenizer: AutoTokenizer;
  },
): Promise<void> {
  const instruction = commonInstruction(run.finetune.dataset_path);
  const frame = await promptFrame(run.tokenizer);
  writeFileAtomic(
    `${folder}/${CHAT_TEMPLATE_FILE}`,
    adapterChatTemplate(instruction, frame),
  );
}

/** The instruction that most rows have, or none where rows have their own. */
function commonInstruction(path: string): string {
  const rows = readRows(path);
  const counts = new Map<string, number>();
  for (const { instruction } of rows) {
    counts.set(instruction, (counts.get(instruction) ?? 0) + 1);
  }
  const [common, count] = [...counts].reduce((best, each) =>
    each[1] > best[1] ? each : best
  );
  return 2 * count > rows.length ? common : "";
}
