/**
 * What the bench trains: models with random weights in sizes that people know, and
 * rows that are made anew from a seed. Ours and the reference read the same files.
 *
 * @module
 */

import {
  initializeWeights,
  readConfig,
  saveModel,
} from "../lib/architectures/mod.ts";
import { AutoModelForCausalLM, AutoTokenizer, InputError } from "../mod.ts";

/** How the base weights are stored and the step computes. */
export type Precision = "fp32" | "bf16";

/** The sizes of a model, and how much of it is measured. */
interface Size {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly intermediate: number;
  readonly vocabulary: number;
  readonly isTied: boolean;
  /** Steps that are timed, after the first. */
  readonly steps: number;
  /** Whether only a GPU can train it. */
  readonly needsGpu?: true;
  /** Rows of a batch, by profile: what the reference can hold in 24 GB, or on a GPU of 80. */
  readonly batch: Readonly<Record<Profile, number>>;
}

/** The models by name. */
export const SIZES = {
  "15M": {
    hidden: 288,
    layers: 6,
    heads: 6,
    keyHeads: 6,
    intermediate: 768,
    vocabulary: 32000,
    isTied: true,
    steps: 6,
    batch: { recipe: 8, mixed: 16, long: 4 },
  },
  // of SmolLM2-135M
  "135M": {
    hidden: 576,
    layers: 30,
    heads: 9,
    keyHeads: 3,
    intermediate: 1536,
    vocabulary: 49152,
    isTied: true,
    steps: 3,
    batch: { recipe: 4, mixed: 8, long: 1 },
  },
  // of Qwen2.5-0.5B
  "500M": {
    hidden: 896,
    layers: 24,
    heads: 14,
    keyHeads: 2,
    intermediate: 4864,
    vocabulary: 151936,
    isTied: true,
    steps: 2,
    batch: { recipe: 2, mixed: 4, long: 1 },
  },
  // of Llama-2-7B with Atom's vocabulary
  "7B": {
    hidden: 4096,
    layers: 32,
    heads: 32,
    keyHeads: 32,
    intermediate: 11008,
    vocabulary: 65000,
    isTied: false,
    steps: 8,
    needsGpu: true,
    batch: { recipe: 8, mixed: 16, long: 4 },
  },
} as const satisfies Readonly<Record<string, Size>>;

/** The name of a model. */
export type SizeName = keyof typeof SIZES;

/** Lengths of a row's three texts in tokens, and where rows are cut. */
interface RowLengths {
  /** What all rows begin with. */
  readonly instruction: number;
  /** Shortest and longest question. */
  readonly question: readonly [number, number];
  /** Shortest and longest answer. */
  readonly answer: readonly [number, number];
  readonly maxSeqLength: number;
  readonly rows: number;
}

/** Which rows are trained. */
export type Profile = "recipe" | "mixed" | "long";

/** The rows by profile. */
export const PROFILES: Readonly<Record<Profile, RowLengths>> = {
  recipe: {
    instruction: 540,
    question: [8, 40],
    answer: [20, 120],
    maxSeqLength: 768,
    rows: 2000,
  },
  mixed: {
    instruction: 0,
    question: [8, 150],
    answer: [20, 300],
    maxSeqLength: 512,
    rows: 2000,
  },
  // every row is cut to 2,048
  long: {
    instruction: 0,
    question: [900, 1000],
    answer: [1250, 1300],
    maxSeqLength: 2048,
    rows: 200,
  },
};

const SEED = 7;
const TOKENIZER = "models/tiny-atom";
const WORDS =
  "早上 晚上 今天 去年 这里 山下 河边 院子里 桌上 书里 我们 他们 孩子 老师 朋友 客人 医生 木匠 想 要 会 能 先 再 慢慢地 一起 已经 " +
  "看见 写下 找到 打开 带走 问起 学会 记住 一本书 两盏灯 三张纸 一封信 旧钥匙 新茶 地图 故事 名字 道理 。 ， 。 ， ？ ！";

/** Numbers in [0, 1) that follow from `seed` (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One row as it stands in the file. */
export interface BenchRow {
  readonly instruction: string;
  readonly input: string;
  readonly output: string;
}

/**
 * The rows of `profile`: nonsense out of a few dozen words, in the lengths asked
 * for; the lengths of questions and of answers are spread evenly on a logarithmic
 * scale, so that most rows are short and some are long.
 */
export async function benchRows(profile: Profile): Promise<BenchRow[]> {
  const { instruction, question, answer, rows } = PROFILES[profile];
  const tokenizer = await AutoTokenizer.fromPretrained(TOKENIZER);
  const countOf = async (text: string): Promise<number> =>
    (await tokenizer.encode(text)).length;
  const alone = await countOf("。");
  const words = await Promise.all(
    WORDS.split(" ").map(async (text) => ({
      text,
      // within a text: some tokenizers put a token before its first character
      tokens: await countOf(`。${text}`) - alone,
    })),
  );
  const random = randomNumbers(SEED);
  const text = (tokens: number): string => {
    const chosen: string[] = [];
    for (let left = tokens; left > 0;) {
      const word = words[Math.floor(random() * words.length)]!;
      chosen.push(word.text);
      left -= word.tokens;
    }
    return chosen.join("");
  };
  const between = ([least, most]: readonly [number, number]): number =>
    Math.round(least * (most / least) ** random());
  const shared = text(instruction);
  return Array.from({ length: rows }, () => ({
    instruction: shared,
    input: text(between(question)),
    output: text(between(answer)),
  }));
}

/** Writes the rows of `profile` into `folder` and returns the file's path. */
export async function makeRows(
  folder: string,
  profile: Profile,
): Promise<string> {
  const rows = await benchRows(profile);
  const text = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  const digest = await crypto.subtle.digest(
    "SHA-256",
    new TextEncoder().encode(text),
  );
  // the name changes with the rows, because datasets caches rows by it
  const name = new Uint8Array(digest).toHex().slice(0, 8);
  const path = `${folder}/${profile}-${name}.jsonl`;
  Deno.mkdirSync(folder, { recursive: true });
  Deno.writeTextFileSync(path, text);
  return path;
}

/** Makes the model with random weights in `folder`, if it is not there yet; returns its folder. */
export function makeModel(
  folder: string,
  name: SizeName,
  precision: Precision,
): string {
  const model = `${folder}/${name}-${precision}`;
  if (exists(`${model}/complete`)) return model;
  const size: Size = SIZES[name];
  Deno.mkdirSync(model, { recursive: true });
  const dtype = precision === "fp32" ? "float32" : "bfloat16";
  const config = {
    model_type: "llama",
    architectures: ["LlamaForCausalLM"],
    hidden_size: size.hidden,
    num_hidden_layers: size.layers,
    num_attention_heads: size.heads,
    num_key_value_heads: size.keyHeads,
    intermediate_size: size.intermediate,
    vocab_size: size.vocabulary,
    tie_word_embeddings: size.isTied,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    max_position_embeddings: 2048,
    bos_token_id: 1,
    eos_token_id: 2,
    dtype,
  };
  Deno.writeTextFileSync(`${model}/config.json`, JSON.stringify(config));
  using made = AutoModelForCausalLM.fromConfig(readConfig(model));
  initializeWeights(made, { seed: SEED, dtype });
  saveModel(made, model);
  for (
    const file of [
      "tokenizer.json",
      "tokenizer_config.json",
      "special_tokens_map.json",
    ]
  ) Deno.copyFileSync(`${TOKENIZER}/${file}`, `${model}/${file}`);
  Deno.writeTextFileSync(`${model}/complete`, "");
  return model;
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** `words` as names of `known`; complains about all others at once. */
export function namesOf<N extends string>(
  words: readonly string[],
  known: readonly N[],
  what: string,
): N[] {
  const isKnown = (word: string): word is N =>
    (known as readonly string[]).includes(word);
  const found = words.filter(isKnown);
  const unknown = words.filter((word) => !isKnown(word));
  if (unknown.length > 0) {
    throw new InputError(
      `Cannot measure ${what} ${unknown.map((it) => `"${it}"`).join(", ")}: ` +
        `there are ${known.join(", ")}`,
      { exitCode: 2 },
    );
  }
  return found;
}
