/**
 * LoraConfig of peft 0.21 in one table: for each field its meaning, its default
 * in peft and in `deno task train`, its flag, its bounds, and whether lorikeet
 * implements it. The flags, `adapter_config.json` and the checks are all based on
 * this table.
 *
 * @module
 */
import type { Setting, SettingKinds, SettingValue } from "./setting.ts";

/** The valid numbers of a setting. */
export interface Bounds {
  /** Whether `value` is valid. */
  readonly legal: (value: number) => boolean;
  /** What is expected instead of `value`. */
  readonly expected: (value: number) => string;
}

/** One field of LoraConfig. */
export interface LoraSetting extends Setting {
  /** How the value is read; no field of LoraConfig is a path or a list of numbers. */
  readonly kind: Exclude<Setting["kind"], "floats" | "paths" | "fields">;
  /** The flag's name, where it differs from the field's; `null` where there is no flag. */
  readonly flag?: string | null;
  /** The flag's default, where it differs from peft's: that of the recipe. */
  readonly recipe?: unknown;
  /** The valid numbers. */
  readonly bounds?: Bounds;
  /**
   * What files and scripts may give, where they may give more than flags or
   * flags cannot give it.
   */
  readonly inFiles?: "object";
  /** Whether `null` in a file stands for the default. */
  readonly nullIsDefault?: true;
  /** Values of a `choice` that only files may give: those of adapters peft has started. */
  readonly storedChoices?: readonly string[];
  /** Whether its names are regular expressions even in a list. */
  readonly holdsPatterns?: true;
  /** Whether the value changes no result, so that any value is accepted. */
  readonly isFree?: true;
  /** The value written into files, where it differs from the default. */
  readonly written?: unknown;
}

/** Fields of LoraConfig by name. */
export type LoraTable = Readonly<Record<string, LoraSetting>>;

/** peft's message in `LoraLayer.update_layer`. */
const RANK: Bounds = {
  legal: (value) => value > 0,
  expected: (value) =>
    `\`r\` should be a positive integer value but the value passed is ${value}`,
};
const AT_LEAST_ONE: Bounds = {
  legal: (value) => value >= 1,
  expected: () => "expected 1 or more",
};
const BELOW_ONE: Bounds = {
  legal: (value) => value >= 0 && value < 1,
  expected: () => "expected 0 or more and less than 1",
};

const refused = { accepts: "default", help: "Not supported yet" } as const;
const off = { kind: "bool", default: false, ...refused } as const;
const text = { kind: "str", default: null, ...refused } as const;
const idle = { noEffect: true, isFree: true, help: "Without effect" } as const;
const noFlag = { flag: null, isFree: true, help: "Written by peft" } as const;

const START = {
  reason: "it needs rows or 4-bit weights before the run starts",
  isFree: true,
  inFiles: "object",
} as const;
const WHOLE = {
  reason: "a LoRA adapter works the same way on every token and layer",
} as const;

/** Values of `init_lora_weights` with which peft starts, and LoRA is plain when it is stored. */
export const STORED_STARTS = ["eva", "mica"] as const;

/** All fields of peft 0.21. */
export const LORA_SETTINGS = {
  /** Rank of the two matrices. */
  r: {
    kind: "int",
    default: 8,
    flag: "lora_rank",
    bounds: RANK,
    help: "Rank of the adapter matrices",
  },
  /** Scale: the product is multiplied by `lora_alpha / r`. */
  lora_alpha: {
    kind: "int",
    default: 8,
    recipe: 32,
    bounds: AT_LEAST_ONE,
    fractions: true,
    help: "Adapter output is scaled by lora_alpha / lora_rank",
  },
  /** Probability of dropping an input of A while training. */
  lora_dropout: {
    kind: "float",
    default: 0,
    recipe: 0.1,
    bounds: BELOW_ONE,
    help: "Dropout on the adapter's input",
  },
  /** Names (suffixes of paths), one regular expression, or `all-linear`. */
  target_modules: {
    kind: "targets",
    default: ["q_proj", "v_proj"],
    recipe: ["W_pack", "down_proj", "o_proj", "gate_proj", "up_proj"],
    nullIsDefault: true,
    help: "Modules that get an adapter: names (a b c, or a,b,c), all-linear, " +
      "or one regular expression for whole module paths",
  },
  /** Names (suffixes of paths) of parameters: those of experts and routers. */
  target_parameters: {
    kind: "list",
    default: null,
    help: "Parameters of experts and routers that get an adapter, " +
      "such as mlp.experts.down_proj or mlp.gate.weight",
  },
  /** Modules to leave out, in the same forms; `null` for none. */
  exclude_modules: {
    kind: "targets",
    default: null,
    help: "Modules without an adapter: names or one regular expression",
  },
  /** Divides by `√r` instead of `r` (Kalajdzievski, arXiv:2312.03732). */
  use_rslora: {
    kind: "bool",
    default: false,
    nullIsDefault: true,
    help: "Scale by lora_alpha / sqrt(lora_rank) instead",
  },
  /** Trains the length of each row too (Liu et al., arXiv:2402.09353). */
  use_dora: {
    kind: "bool",
    default: false,
    nullIsDefault: true,
    help: "DoRA: train the length of each row of a weight too",
  },
  /** Names (ends of paths) of modules that are trained whole, as copies. */
  modules_to_save: {
    kind: "list",
    default: null,
    help: "Modules that are trained whole and saved with the adapter, " +
      "such as embed_tokens lm_head norm",
  },
  /** Keeps head and embedding one matrix where both are trained. */
  ensure_weight_tying: {
    kind: "bool",
    default: false,
    nullIsDefault: true,
    help: "Where head and embedding share a matrix, train them as one",
  },
  /** Which biases of the base model are trained. */
  bias: {
    kind: "choice",
    choices: ["none", "all", "lora_only"],
    default: "none",
    nullIsDefault: true,
    help: "Biases that are trained: none, all, or those of adapted modules",
  },
  /** Trains a bias of B. */
  lora_bias: {
    kind: "bool",
    default: false,
    nullIsDefault: true,
    help: "Train a bias of matrix B too",
  },
  /** Tokens whose rows are trained, of the embedding or by the module's name. */
  trainable_token_indices: {
    kind: "tokens",
    default: null,
    help: "Ids of tokens whose embeddings are trained, or a JSON object from " +
      "module name to ids",
  },
  /**
   * `true`: A uniform, B zero; `false`: both uniform; `gaussian`: A normal, B zero; the
   * others compute both, and PiSSA and OLoRA take their product out of the weight.
   */
  init_lora_weights: {
    kind: "choice",
    choices: [
      true,
      false,
      "gaussian",
      "pissa",
      "pissa_niter_4" as `pissa_niter_${number}`,
      "olora",
      "orthogonal",
    ],
    likeChoice: /^pissa_niter_[1-9]\d{0,3}$/,
    storedChoices: STORED_STARTS,
    default: true,
    help:
      "Initial weights of the adapter: true as in peft (A random, B zero), " +
      "false both random, gaussian A from a normal distribution, pissa or " +
      "pissa_niter_4 (any number) and olora from the weight, orthogonal",
  },
  /** Layer numbers to adapt; `null` for all. */
  layers_to_transform: {
    kind: "ints",
    default: null,
    help: "Numbers of the layers that get an adapter",
  },
  /**
   * Names (regular expressions) of the lists whose layers are numbered; `null`
   * for the first list.
   */
  layers_pattern: {
    kind: "list",
    default: null,
    holdsPatterns: true,
    help: "Names of the module lists whose items layers_to_transform numbers",
  },
  /** Other ranks for paths that match. */
  rank_pattern: {
    kind: "numbers",
    default: {},
    bounds: RANK,
    nullIsDefault: true,
    help: "JSON object from module name or pattern to its own rank",
  },
  /** Other alphas for paths that match. */
  alpha_pattern: {
    kind: "numbers",
    default: {},
    fractions: true,
    nullIsDefault: true,
    help: "JSON object from module name or pattern to its own alpha",
  },
  /** The folder of the base model, for programs that load the adapter. */
  base_model_name_or_path: {
    kind: "str",
    default: null,
    flag: null,
    help: "Folder of the base model",
  },
  /** Needed by peft's task classes; adapters are written with CAUSAL_LM. */
  task_type: {
    kind: "str",
    default: "CAUSAL_LM",
    ...refused,
    reason: "chat models are trained to continue text",
    isFree: true,
  },
  /** For layers that store their weights transposed, which no family here has. */
  fan_in_fan_out: { kind: "bool", default: false, ...idle },
  layer_replication: { ...text, reason: "no layers are repeated" },
  loftq_config: { ...text, ...START, written: {} },
  eva_config: { ...text, ...START },
  corda_config: { ...text, ...START },
  lora_ga_config: { ...text, ...START },
  velora_config: { ...text, ...WHOLE },
  monteclora_config: { ...text, ...WHOLE },
  arrow_config: { ...text, ...WHOLE },
  kasa_config: { ...text, ...WHOLE },
  megatron_config: { kind: "any", default: null, ...idle, inFiles: "object" },
  megatron_core: { kind: "str", default: "megatron.core", ...idle },
  alora_invocation_tokens: {
    kind: "ints",
    default: null,
    ...refused,
    ...WHOLE,
  },
  use_qalora: { ...off, ...WHOLE },
  qalora_group_size: { kind: "int", default: 16, ...idle },
  use_bdlora: { ...text, ...WHOLE },
  auto_mapping: { kind: "str", default: null, ...noFlag, inFiles: "object" },
  inference_mode: { kind: "bool", default: true, ...noFlag },
  peft_type: { kind: "str", default: "LORA", ...refused, flag: null },
  peft_version: { kind: "str", default: "0.21.0", ...noFlag },
  revision: { kind: "str", default: null, ...noFlag },
} as const satisfies LoraTable;

/** @internal */
type Table = typeof LORA_SETTINGS;

/**
 * The names of the fields that lorikeet implements.
 *
 * @internal
 */
type Computed = {
  [N in keyof Table]: Table[N] extends
    { readonly accepts: unknown } | { readonly isFree: true } ? never : N;
}[keyof Table];

/**
 * What a file or a script may give: a single number or name instead of a list of
 * one.
 *
 * @internal
 */
type FieldValue<S extends LoraSetting> =
  | (S extends { readonly storedChoices: readonly (infer C)[] } ? C : never)
  | (S extends { readonly choices: readonly (infer C)[] } ? C
    : S["kind"] extends "any" ? Readonly<Record<string, unknown>>
    : S["kind"] extends "tokens" ? number | SettingKinds["tokens"]
    : S["kind"] extends "ints" ? number | readonly number[]
    : S["kind"] extends "list" ? string | readonly string[]
    : SettingKinds[S["kind"]])
  | (S extends { readonly default: null } ? null : never);

/**
 * The shape of an adapter; the fields have their names in `adapter_config.json`.
 * Those that only a registered kind of adapter implements may be left out.
 */
export type LoraConfig =
  & { readonly [N in Computed]: FieldValue<Table[N]> }
  & { readonly [N in Exclude<keyof Table, Computed>]?: FieldValue<Table[N]> };

/** A value of `init_lora_weights`. */
export type LoraStart = LoraConfig["init_lora_weights"];

/**
 * The flag of each field.
 *
 * @internal
 */
type FlagName<N extends string, S> = S extends { readonly flag: infer F }
  ? F extends string ? F : never
  : N;

/** @internal */
type LoraFlags = {
  readonly [N in Computed as FlagName<N, Table[N]>]: Table[N];
};

/** The flags of `deno task train` that describe the adapter. */
export const LORA_FLAGS = flags((row) =>
  row.accepts === undefined && row.noEffect === undefined
) as LoraFlags;

/** Fields that are known, and refused by name when they are set. */
export const LORA_REFUSED_FLAGS: LoraTable = flags((row) =>
  row.accepts === "default"
);

/** Fields that change no result, and may have any value. */
export const LORA_WITHOUT_EFFECT: LoraTable = flags((row) =>
  row.noEffect === true
);

function flags(wanted: (row: LoraSetting) => boolean): LoraTable {
  const rows = Object.entries<LoraSetting>(LORA_SETTINGS)
    .filter(([, row]) => row.flag !== null && wanted(row))
    .map(([name, row]) =>
      [row.flag ?? name, {
        ...row,
        default: row.recipe === undefined ? row.default : row.recipe,
      }] as const
    );
  return Object.fromEntries(rows);
}

/** The flag that sets a field, without its dashes. */
export function loraFlag(field: keyof Table): string {
  const row: LoraSetting = LORA_SETTINGS[field];
  return row.flag ?? field;
}

/** The values of the flags in {@linkcode LORA_FLAGS}. */
export type LoraFlagValues = {
  readonly [N in keyof LoraFlags]: SettingValue<LoraFlags[N]>;
};

/**
 * The adapter that the flags describe, by the field names of LoraConfig.
 *
 * @example
 * ```ts
 * import { parseTrainArguments } from "@lorikeet/lorikeet";
 * import { loraFields } from "@lorikeet/lorikeet/arguments";
 *
 * const parsed = parseTrainArguments(["--lora_rank", "4"]);
 * if ("help" in parsed) throw new Error("no help was asked for");
 * if (loraFields(parsed.finetune).r !== 4) throw new Error("unexpected rank");
 * ```
 */
export function loraFields(values: LoraFlagValues): Partial<LoraConfig> {
  const given = values as Readonly<Record<string, unknown>>;
  const fields = Object.entries<LoraSetting>(LORA_SETTINGS)
    .map(([name, { flag }]) => [name, given[flag ?? name]])
    .filter(([, value]) => value !== undefined);
  return Object.fromEntries(fields);
}
