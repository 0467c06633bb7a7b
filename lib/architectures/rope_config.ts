/**
 * Reads the rotary parameters in `config.json`, in the spelling of transformers 4
 * (`rope_theta`, `rope_scaling`) and of 5 (`rope_parameters`).
 *
 * @module
 */

import { quoted } from "../input_error.ts";
import type { RopeParameters } from "../nn/mod.ts";
import type { ConfigReader } from "./config_reader.ts";

type RopeType = RopeParameters["type"];

/** For each type, the fields that it needs, and those that it may have. */
const ROPE_FIELDS: ReadonlyMap<
  RopeType,
  { readonly needs: readonly string[]; readonly takes?: readonly string[] }
> = new Map([
  ["default", { needs: [] }],
  ["linear", { needs: ["factor"] }],
  ["dynamic", { needs: ["factor"] }],
  ["yarn", {
    needs: ["factor"],
    takes: [
      "attention_factor",
      "beta_fast",
      "beta_slow",
      "mscale",
      "mscale_all_dim",
      "truncate",
    ],
  }],
  ["longrope", {
    needs: ["short_factor", "long_factor"],
    takes: ["factor", "attention_factor"],
  }],
  ["llama3", { needs: ["factor", "low_freq_factor", "high_freq_factor"] }],
]);

/** What the model page has read already. */
export interface RopeSizes {
  /** Size of one head. */
  readonly headSize: number;
  /** `max_position_embeddings`. */
  readonly maxPositions: number;
  /** `rope_theta` when the config has none. Default 10000. */
  readonly theta?: number | undefined;
  /**
   * `partial_rotary_factor` when the config has none. Families without a default
   * rotate whole heads and refuse any other value.
   */
  readonly partialRotaryFactor?: number | undefined;
  /**
   * Whether a rotated part of an odd size is rotated with one element more. Default
   * no: it is refused.
   */
  readonly roundsOddUp?: boolean;
  /** The types of scaling that the family's own code has. Default all. */
  readonly types?: readonly RopeParameters["type"][];
}

/**
 * Reads the rotary parameters of families whose own code only knows those that the
 * first transformers with scalings had.
 */
export function readOlderRope(
  reader: ConfigReader,
  sizes: RopeSizes,
): RopeParameters {
  const types = ["default", "linear", "dynamic"] as const;
  return readRope(reader, { ...sizes, types });
}

/** Reads the rotary parameters in `reader`, which also collects the problems. */
export function readRope(
  reader: ConfigReader,
  sizes: RopeSizes,
): RopeParameters {
  // transformers uses the older spelling when a config has both.
  const [older, current] = [
    reader.section("rope_scaling"),
    reader.section("rope_parameters"),
  ];
  const isOlder = Object.keys(older.json).length > 0;
  const scaling = isOlder ? older : current;
  const from = scaling.value("rope_theta") === undefined ? reader : scaling;
  const theta = from.number("rope_theta", sizes.theta ?? 10000, {
    moreThan: 0,
  });
  const headSize = turnedSize(reader, { scaling, sizes });
  const { maxPositions } = sizes;
  const plain = { headSize, maxPositions, theta, type: "default" } as const;
  const spelled = scaling.value("rope_type") ?? scaling.value("type") ??
    "default";
  const { types = [...ROPE_FIELDS.keys()] } = sizes;
  const type = types.find((each) => each === spelled);
  if (type === undefined) {
    reader.problems.push(
      `rope_type ${quoted(spelled, 60)} is not supported (${
        types.join(", ")
      } are)`,
    );
    return plain;
  }
  const { needs, takes = [] } = ROPE_FIELDS.get(type)!;
  const missing = needs.filter((field) => scaling.value(field) === undefined);
  for (const field of missing) {
    reader.problems.push(`rope_type "${type}" needs ${field}`);
  }
  if (missing.length > 0) return plain;
  checkSize(reader, type, headSize);
  const fields = new Set([...needs, ...takes]);
  return {
    ...plain,
    type,
    ...scalingFields(scaling, { fields, headSize }),
    ...originalPositions(reader, { scaling, type, sizes }),
  };
}

function checkSize(
  reader: ConfigReader,
  type: RopeType,
  headSize: number,
): void {
  if (type === "dynamic" && headSize < 4) {
    reader.problems.push(
      `rope_type "dynamic" needs a head_dim of 4 or more, got ${headSize}`,
    );
  }
  if (type === "yarn" && headSize % 2 !== 0) {
    reader.problems.push(
      `rope_type "yarn" needs a rotated part of an even size, got ${headSize}`,
    );
  }
}

/**
 * Refuses a scaling of the rotation, for families whose own code reads neither
 * `rope_scaling` nor `rope_parameters`.
 */
export function refuseScaledRope(reader: ConfigReader): void {
  reader.refuse("rope_scaling", () => false);
  reader.refuse("rope_parameters", (value) => {
    const { rope_type = "default", rope_theta = 10000 } = value as {
      readonly rope_type?: unknown;
      readonly rope_theta?: unknown;
    };
    return rope_type === "default" && rope_theta === 10000;
  });
}

/** The size of the rotated part of a head. */
function turnedSize(
  reader: ConfigReader,
  context: { readonly scaling: ConfigReader; readonly sizes: RopeSizes },
): number {
  const { scaling, sizes } = context;
  const field = "partial_rotary_factor";
  const from = scaling.value(field) === undefined ? reader : scaling;
  if (sizes.partialRotaryFactor === undefined) {
    from.refuse(field, (value) => value === 1);
    if (sizes.headSize % 2 !== 0) {
      reader.problems.push(`head_dim ${sizes.headSize} must be even`);
    }
    return sizes.headSize;
  }
  const factor = from.number(field, sizes.partialRotaryFactor, {
    moreThan: 0,
    most: 1,
  });
  const size = Math.floor(sizes.headSize * factor);
  if (size > 0 && (size % 2 === 0 || sizes.roundsOddUp)) return size;
  reader.problems.push(
    `${field} ${factor} of head_dim ${sizes.headSize} must give an even number`,
  );
  return 2;
}

/** The context length before scaling. */
function originalPositions(
  reader: ConfigReader,
  context: { scaling: ConfigReader; type: RopeType; sizes: RopeSizes },
): { originalMaxPositions?: number } {
  const { scaling, type, sizes } = context;
  if (!["llama3", "yarn", "longrope"].includes(type)) return {};
  const field = "original_max_position_embeddings";
  const from = reader.value(field) === undefined ? scaling : reader;
  return { originalMaxPositions: from.positions(field, sizes.maxPositions) };
}

type Scaling = { -readonly [Name in keyof RopeParameters]?: unknown };

function scalingFields(
  scaling: ConfigReader,
  context: { fields: ReadonlySet<string>; headSize: number },
): Partial<RopeParameters> {
  const read: Scaling = {};
  const number = (field: string, name: keyof RopeParameters): void => {
    if (!context.fields.has(field) || scaling.value(field) === undefined) {
      return;
    }
    read[name] = scaling.number(field, 1, { moreThan: 0 });
  };
  number("factor", "factor");
  number("attention_factor", "attentionFactor");
  number("beta_fast", "betaFast");
  number("beta_slow", "betaSlow");
  number("mscale", "mscale");
  number("mscale_all_dim", "mscaleAllDim");
  number("low_freq_factor", "lowFreqFactor");
  number("high_freq_factor", "highFreqFactor");
  if (context.fields.has("truncate")) {
    read.truncate = scaling.flag("truncate", true);
  }
  if (context.fields.has("short_factor")) {
    const half = Math.ceil(context.headSize / 2);
    read.shortFactor = scaling.numbers("short_factor", half);
    read.longFactor = scaling.numbers("long_factor", half);
  }
  return read as Partial<RopeParameters>;
}
