/**
 * Loads mutants of every tokenizer among the fixtures (of tokenizer.json, of every
 * third its settings), encodes and decodes
 * with each that loads. Each must work or be refused with an InputError: a process
 * that dies, another exception or more than two seconds are counted as failures.
 *
 *     deno run -A --preload tests/preload.ts tests/tokenizer/fuzz_tokenizer_json.ts 1 3000
 *
 * tries the mutants 1 to 3000. The work is done in processes of its own, since a
 * mutant that gets through to the library can end one.
 *
 * @module
 */

import { fileInfo } from "../../lib/formats/file_info.ts";
import { InputError } from "../../lib/input_error.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { mutant } from "./mutants.ts";

const FIXTURES = [
  "data/legacy",
  "data/metaspace",
  "data/backend",
  "data/byte_level",
  "tokenizers/llama3",
  "tokenizers/unigram",
  "tokenizers/wordpiece",
  "tokenizers/clip",
  "tokenizers/mixture",
  "tokenizers/prefix",
];
const TEXTS = [
  "",
  "Hello  world, it's 12345!\r\n 你好 𠮷🌸\u0000é",
  "a".repeat(2000) + "b",
  " ".repeat(1500) + "x",
  "<s>a b</s> ▁a##b|c <unk>[CLS] ab ba aab",
];
const FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
];
const SLOW = 2000;

/** What became of the mutants. */
export interface Outcome {
  loaded: number;
  refused: number;
  readonly failures: string[];
}

function textOf(path: string): string | null {
  return fileInfo(path) === null ? null : Deno.readTextFileSync(path);
}

/** Tries one mutant; returns what went wrong, if anything. */
async function attempt(seed: number, folder: string): Promise<string> {
  const fixture = FIXTURES[seed % FIXTURES.length]!;
  const texts = new Map(
    FILES.map((name) => [name, textOf(`tests/fixtures/${fixture}/${name}`)]),
  );
  if (seed % 3 === 0) texts.set("added_tokens.json", '{"<|new|>":500}');
  const changed = seed % 3 === 0
    ? FILES.filter((name) =>
      texts.get(name) !== null
    )[1 + Math.floor(seed / 30) % 3]
    : undefined;
  const name = changed ?? "tokenizer.json";
  texts.set(name, mutant(texts.get(name) ?? "{}", seed));
  for (const [file, text] of texts) {
    const path = `${folder}/${file}`;
    if (fileInfo(path) !== null) Deno.removeSync(path);
    if (text !== null) Deno.writeTextFileSync(path, text);
  }
  try {
    const tokenizer = await AutoTokenizer.fromPretrained(folder);
    const batches = await Promise.allSettled([
      ...TEXTS.map((it) => tokenizer.encode(it)),
      tokenizer.encode(TEXTS[1]!, { addSpecialTokens: false, maxLength: 5 }),
    ]);
    for (const batch of batches) {
      if (batch.status === "rejected") {
        if (!(batch.reason instanceof InputError)) throw batch.reason;
        continue;
      }
      decode(tokenizer, batch.value);
    }
    decode(tokenizer, Array.from({ length: 300 }, (_, i) => i));
    decode(tokenizer, []);
    return "loaded";
  } catch (error) {
    if (error instanceof InputError) return "refused";
    return error instanceof Error
      ? `${error.name}: ${error.message}`.slice(0, 200)
      : String(error);
  }
}

function decode(tokenizer: AutoTokenizer, ids: readonly number[]): void {
  try {
    tokenizer.decode(ids);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
  }
}

/** In the process that may die: says before and after each mutant where it is. */
async function work(first: number, last: number): Promise<void> {
  const folder = Deno.makeTempDirSync();
  const say = (line: string): number =>
    Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
  for (let seed = first; seed <= last; seed++) {
    say(`${seed} begun`);
    const start = performance.now();
    const outcome = await attempt(seed, folder);
    const isSlow = performance.now() - start > SLOW;
    say(`${seed} ${isSlow ? "took too long" : outcome.replaceAll("\n", " ")}`);
  }
  Deno.removeSync(folder, { recursive: true });
}

/** Tries the mutants `first` to `last`, each in a process that may die. */
export async function fuzz(first: number, last: number): Promise<Outcome> {
  const outcome: Outcome = { loaded: 0, refused: 0, failures: [] };
  for (let seed = first; seed <= last;) {
    seed = 1 + await part(seed, last, outcome);
  }
  return outcome;
}

/** Runs one process; returns the last mutant that it got to. */
async function part(
  first: number,
  last: number,
  outcome: Outcome,
): Promise<number> {
  const process = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-q",
      "-A",
      "--no-prompt",
      "--preload",
      "tests/preload.ts",
      "tests/tokenizer/fuzz_tokenizer_json.ts",
      "work",
      `${first}`,
      `${last}`,
    ],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let at = first;
  let isOpen = true;
  let timer = setTimeout(() => process.kill("SIGKILL"), 30_000);
  const lines = process.stdout.pipeThrough(new TextDecoderStream());
  let rest = "";
  for await (const chunk of lines) {
    const parts = (rest + chunk).split("\n");
    rest = parts.pop()!;
    for (const line of parts) {
      const [seed, ...words] = line.split(" ");
      at = Number(seed);
      isOpen = words[0] === "begun";
      const result = words.join(" ");
      if (result === "loaded" || result === "refused") outcome[result]++;
      else if (!isOpen) outcome.failures.push(line);
    }
    clearTimeout(timer);
    timer = setTimeout(() => process.kill("SIGKILL"), 4 * SLOW);
  }
  clearTimeout(timer);
  const { signal, code } = await process.status;
  if (isOpen) {
    outcome.failures.push(`${at} ended the process: ${signal ?? code}`);
  }
  return at;
}

/** The two ways to run this file. */
async function main([mode, ...rest]: readonly string[]): Promise<void> {
  if (mode === "work") return await work(Number(rest[0]), Number(rest[1]));
  const outcome = await fuzz(Number(mode ?? 1), Number(rest[0] ?? 3000));
  console.log(outcome);
}

if (import.meta.main) main(Deno.args);
