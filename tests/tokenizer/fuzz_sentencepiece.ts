/**
 * Loads mutants of tokenizer.model and encodes with those that load. Run by
 * sentencepiece_test.ts as a process of its own:
 * `deno run -A --preload tests/preload.ts tests/tokenizer/fuzz_sentencepiece.ts FIRST LAST`.
 *
 * @module
 */

import { InputError } from "../../lib/input_error.ts";
import { AutoTokenizer } from "../../lib/tokenizer/auto_tokenizer.ts";
import { Dice } from "./mutants.ts";

const DATA = "tests/fixtures/sentencepiece";
const MODELS = [
  "bpe",
  "bpe_symbols",
  "bpe_unused",
  "unigram",
  "unigram_bytes",
  "glm4",
];
const SLOWEST_MS = 3000;
const TEXTS = [
  "",
  "本宫今日在御花园  赏梅<|user|>@@@",
  "<s>ﬁ①Ａ\u0000\t🌸 word",
  "a @御~".repeat(400),
];

/** Changes, cuts, repeats and moves bytes of a file; often only one bit. */
function mutant(bytes: Uint8Array, random: Dice): Uint8Array {
  const copy = [...bytes];
  const place = (): number => random.below(copy.length);
  if (random.below(2) === 0) {
    copy[place()]! ^= 1 << random.below(8);
    return Uint8Array.from(copy);
  }
  for (let i = 1 + random.below(4); i > 0 && copy.length > 8; i--) {
    const at = place(), length = 1 + random.below(40);
    const kind = random.below(6);
    if (kind === 0) copy[at] = random.below(256);
    else if (kind === 1) copy[at] = copy[at]! ^ (1 << random.below(8));
    else if (kind === 2) copy.splice(at, length);
    else if (kind === 3) copy.splice(at, 0, ...copy.slice(at, at + length));
    else if (kind === 4) copy.splice(place(), 0, ...copy.splice(at, length));
    else if (random.below(4) === 0) copy.length = at;
    else copy[at] = [0, 0x7f, 0x80, 0xff][random.below(4)]!;
  }
  return Uint8Array.from(copy);
}

/** Tries the mutants `first` to `last`; tells how many failed. */
async function main(first: number, last: number): Promise<void> {
  const folder = Deno.makeTempDirSync();
  const counts = { loaded: 0, refused: 0, failed: 0 };
  try {
    for (let seed = first; seed <= last; seed++) {
      const random = new Dice(seed);
      const model = MODELS[random.below(MODELS.length)]!;
      const tokenizer_class = model === "glm4" ? "ChatGLM4Tokenizer" : "Any";
      Deno.writeTextFileSync(
        `${folder}/tokenizer_config.json`,
        JSON.stringify({ tokenizer_class }),
      );
      const bytes = Deno.readFileSync(`${DATA}/${model}/tokenizer.model`);
      Deno.writeFileSync(`${folder}/tokenizer.model`, mutant(bytes, random));
      const start = performance.now();
      try {
        const tokenizer = await AutoTokenizer.fromPretrained(folder);
        for (const ids of await tokenizer.encodeBatch(TEXTS)) {
          if (ids.some((id) => !Number.isInteger(id))) throw new Error("no id");
          tokenizer.decode(ids);
        }
        counts.loaded++;
      } catch (error) {
        const isSentence = error instanceof InputError &&
          /^Cannot load tokenizer from ".*": in tokenizer\.model [^\n]*, [^\n]*[^.\n]$/
            .test(error.message);
        counts[isSentence ? "refused" : "failed"]++;
        if (!isSentence) console.log(`seed ${seed}: ${error}`);
      }
      if (performance.now() - start > SLOWEST_MS) {
        counts.failed++;
        console.log(`seed ${seed}: slow`);
      }
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
  console.log(JSON.stringify(counts));
  Deno.exit(counts.failed > 0 ? 1 : 0);
}

if (import.meta.main) main(Number(Deno.args[0]), Number(Deno.args[1]));
