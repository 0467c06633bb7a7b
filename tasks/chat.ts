/**
 * `deno task chat`: a model, with or without an adapter, answers in the terminal: one
 * question given by `--prompt`, or each line of standard input.
 *
 * @module
 */

import {
  AutoModelForCausalLM,
  AutoTokenizer,
  chatPrompt,
  Conversation,
  deviceName,
  deviceNamed,
  type GenerateOptions,
  keepWeightCopies,
  PeftModel,
} from "../mod.ts";
import {
  type ChatArguments,
  type ChatReading,
  parseChatArguments,
} from "../lib/arguments/mod.ts";
import type { ChatPrompt } from "../lib/generation/mod.ts";
import { adaptedModel, checkModelFolder } from "./base_model.ts";
import { beginLoadingLibtorch, openLibtorch } from "./open_libtorch.ts";
import { runCommand } from "./report_error.ts";
import { readStoredFormat } from "./stored_format.ts";
import { userFolder } from "./user_folder.ts";

const HELP = `Type a question and press Enter.
  /reset   forget what was said
  /help    show this
  exit     leave (Ctrl-D too); Ctrl-C stops an answer`;

async function main(args: readonly string[]): Promise<void> {
  const folder = userFolder();
  const parsed = parseChatArguments(args, folder ? { folder } : {});
  if ("help" in parsed) return console.log(parsed.help);
  const chat = withBaseModel(parsed);
  beginLoadingLibtorch();
  const tokenizer = await AutoTokenizer.fromPretrained(chat.model_path);
  const prompt = await promptFor(chat, tokenizer);
  await openLibtorch(["run", "sys", "write"]);
  using model = AutoModelForCausalLM.fromPretrained(chat.model_path, {
    device: deviceNamed(chat.device),
    torchDtype: chat.torch_dtype,
  });
  using _adapter = chat.adapter === null
    ? null
    : PeftModel.fromPretrained(model, chat.adapter);
  using _copies = keepWeightCopies(model);
  const options = generateOptions(chat);
  const conversation = new Conversation({ model, tokenizer, prompt, options });
  using interrupt = new Interrupt();
  if (chat.prompt !== null) {
    return await print(conversation.ask(chat.prompt, interrupt.forAnswer()));
  }
  greet(chat, { prompt, device: deviceName(model.device) });
  await converse(conversation, interrupt);
}

/**
 * The settings with the path of the base model: `--model_path`, or the adapter's base
 * model, or the shipped model.
 */
function withBaseModel({ chat, given }: ChatReading): ChatArguments {
  const { adapter, model_path } = chat;
  if (adapter === null) {
    checkModelFolder(model_path);
    return chat;
  }
  const named = given.has("model_path") ? model_path : null;
  return { ...chat, model_path: adaptedModel({ adapter, model_path: named }) };
}

/**
 * The prompt format of the chat. Earlier turns stand before a question in a model's
 * own chat template, with an adapter trained in it too; other formats were trained
 * on single turns.
 */
async function promptFor(
  chat: ChatArguments,
  tokenizer: AutoTokenizer,
): Promise<ChatPrompt> {
  const prompt = await chatPrompt(tokenizer, chat);
  if (chat.history === true && !prompt.keepsHistory) {
    console.error(
      "Warning: --history has no effect, this prompt format has only one turn",
    );
  }
  const speaksOwn = prompt.source === "model" ||
    readStoredFormat(chat.adapter)?.name === "chat";
  const wanted = chat.history ?? speaksOwn;
  return { ...prompt, keepsHistory: prompt.keepsHistory && wanted };
}

function generateOptions(chat: ChatArguments): GenerateOptions {
  return {
    doSample: chat.do_sample,
    maxNewTokens: chat.max_new_tokens,
    temperature: chat.temperature,
    topK: chat.top_k,
    topP: chat.top_p,
    repetitionPenalty: chat.repetition_penalty,
    seed: chat.seed,
  };
}

/** Answers each line of standard input, to the end of input. */
async function converse(
  conversation: Conversation,
  interrupt: Interrupt,
): Promise<void> {
  showMarker();
  for await (const line of inputLines()) {
    const question = line.trim();
    if (question === "exit" || question === "quit") return;
    if (question === "/reset") conversation.reset();
    else if (question === "/help") console.error(HELP);
    else if (question !== "") {
      await print(conversation.ask(question, interrupt.forAnswer()));
      interrupt.answered();
    }
    showMarker();
  }
  if (Deno.stdin.isTerminal()) console.error();
}

/** Ctrl-C stops the present answer; where there is none, it ends the program. */
class Interrupt implements Disposable {
  #answer: AbortController | null = null;
  readonly #onSignal = (): void => {
    if (this.#answer !== null && !this.#answer.signal.aborted) {
      return this.#answer.abort();
    }
    console.error();
    Deno.exit(this.#answer === null ? 0 : 130);
  };

  constructor() {
    Deno.addSignalListener("SIGINT", this.#onSignal);
  }

  /** The signal for a new answer. */
  forAnswer(): AbortSignal {
    this.#answer = new AbortController();
    return this.#answer.signal;
  }

  /** Says that the answer has ended. */
  answered(): void {
    this.#answer = null;
  }

  [Symbol.dispose](): void {
    Deno.removeSignalListener("SIGINT", this.#onSignal);
  }
}

async function print(pieces: AsyncIterable<string>): Promise<void> {
  for await (const piece of pieces) write(piece);
  write("\n");
}

function write(text: string): void {
  let bytes = new TextEncoder().encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
}

/** Lines of standard input; the last one may lack its line end. */
async function* inputLines(): AsyncGenerator<string> {
  let rest = "";
  const decoded = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  for await (const chunk of decoded) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

function showMarker(): void {
  if (Deno.stdin.isTerminal()) {
    Deno.stderr.writeSync(new TextEncoder().encode("> "));
  }
}

const FORMS = {
  adapter: "as the adapter was trained",
  model: "by the model's chat template",
  recipe: "by the recipe's prompt",
} as const;

/** Prints which model answers; nothing when standard input is not a terminal. */
function greet(
  chat: ChatArguments,
  { prompt, device }: { prompt: ChatPrompt; device: string },
): void {
  if (!Deno.stdin.isTerminal()) return;
  const adapter = chat.adapter === null ? "" : ` with ${chat.adapter}`;
  const memory = prompt.keepsHistory
    ? "with the earlier turns"
    : "each on its own";
  console.error(
    `${chat.model_path}${adapter} on ${device}; questions are asked ${
      FORMS[prompt.source]
    }, ${memory}.\n${HELP}`,
  );
}

if (import.meta.main) {
  runCommand(() => main(Deno.args), {
    usage: "deno task chat [settings.json|.jsonc|.yaml] [--flag value ...]",
  });
}
