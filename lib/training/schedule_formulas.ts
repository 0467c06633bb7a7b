/**
 * The learning-rate schedules of `transformers.optimization`, each with its
 * settings and their defaults. A new one is an entry of the table.
 *
 * @module
 */

/** A value in `lr_scheduler_kwargs`; `null` where none is given. */
export type ScheduleSetting = number | string | null;

/** What a schedule depends on besides the step. */
export interface ScheduleSpan {
  /** Number of steps in which the rate rises from 0. */
  readonly warmupSteps: number;
  /** Number of steps of the whole run. */
  readonly maxSteps: number;
  /** The highest learning rate. Default 1. */
  readonly learningRate?: number;
  /** The metric that decides in each evaluation so far. Default: none. */
  readonly metrics?: readonly number[];
  /** The schedule's own settings, all of them. Default: those that it declares. */
  readonly settings?: Readonly<Record<string, ScheduleSetting>>;
}

/** The factor of the learning rate at optimizer step `step`, counted from 0. */
export type ScheduleFormula = (step: number, span: ScheduleSpan) => number;

/** A schedule that can be chosen by name. */
export interface ScheduleDefinition {
  /** Its formula. */
  readonly factor: ScheduleFormula;
  /** Its settings with their defaults. Default: it has none. */
  readonly settings?: Readonly<Record<string, ScheduleSetting>>;
  /** Whether it depends on evaluations. Default: it does not. */
  readonly followsMetrics?: true;
  /** Why it cannot run with a `span`, or undefined where it can. */
  readonly problem?: (span: Required<ScheduleSpan>) => string | undefined;
}

/** Rises to 1 in the warm-up, and follows `rest` after it. */
function afterWarmup(rest: ScheduleFormula): ScheduleFormula {
  return (step, span) =>
    step < span.warmupSteps
      ? step / Math.max(1, span.warmupSteps)
      : rest(step, span);
}

/** Number of steps from the end of the warm-up to the end of the run. */
function stepsAfterWarmup({ maxSteps, warmupSteps }: ScheduleSpan): number {
  return Math.max(1, maxSteps - warmupSteps);
}

function numberOf({ settings = {} }: ScheduleSpan, name: string): number {
  return Number(settings[name]);
}

/** `cycles` waves of a cosine; half a wave falls from 1 to 0. */
function cosine(progress: number, cycles: number): number {
  return 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * progress));
}

/** `factor`, from its range 0 to 1 into `least` to 1. */
function atLeast(least: number, factor: number): number {
  return Math.max(0, factor * (1 - least) + least);
}

const LOWEST_RATE = { num_cycles: 0.5, min_lr: null, min_lr_rate: null };

function lowestShare(span: ScheduleSpan): number {
  const { settings = {}, learningRate = 1 } = span;
  return typeof settings.min_lr === "number"
    ? settings.min_lr / learningRate
    : numberOf(span, "min_lr_rate");
}

function lowestRateProblem(
  { settings }: Required<ScheduleSpan>,
): string | undefined {
  const given = [settings.min_lr, settings.min_lr_rate]
    .filter((each) => each !== null);
  return given.length === 1
    ? undefined
    : "expected one of min_lr and min_lr_rate in --lr_scheduler_kwargs";
}

/** How far a rise or a fall of a kind has come, after a share of its steps. */
const SHAPES: Readonly<Record<string, (rest: number) => number>> = {
  linear: (rest) => rest,
  "1-sqrt": (rest) => 1 - Math.sqrt(1 - rest),
};

function stablePhases(span: ScheduleSpan): { stable: number; decay: number } {
  const decay = numberOf(span, "num_decay_steps");
  const stable = span.settings?.num_stable_steps ??
    span.maxSteps - span.warmupSteps - decay;
  return { stable: Number(stable), decay };
}

function warmupStableDecay(step: number, span: ScheduleSpan): number {
  const { warmupSteps, settings = {} } = span;
  const { stable, decay } = stablePhases(span);
  const least = numberOf(span, "min_lr_ratio");
  if (step < warmupSteps) {
    const progress = step / Math.max(1, warmupSteps);
    return atLeast(
      least,
      SHAPES[String(settings.warmup_type)]?.(progress) ??
        0.5 * (1 - Math.cos(Math.PI * progress)),
    );
  }
  if (step < warmupSteps + stable) return 1;
  if (step >= warmupSteps + stable + decay) return least;
  const progress = (step - warmupSteps - stable) / Math.max(1, decay);
  return atLeast(
    least,
    SHAPES[String(settings.decay_type)]?.(1 - progress) ??
      cosine(progress, numberOf(span, "num_cycles")),
  );
}

function stableProblem(span: Required<ScheduleSpan>): string | undefined {
  const { settings } = span;
  const kinds = [...Object.keys(SHAPES), "cosine"];
  for (const name of ["warmup_type", "decay_type"]) {
    if (!kinds.includes(String(settings[name]))) {
      return `"${name}" is ${JSON.stringify(settings[name])}, expected one of ${
        kinds.map((each) => JSON.stringify(each)).join(", ")
      }`;
    }
  }
  if (settings.num_decay_steps === null) {
    return "expected num_decay_steps in --lr_scheduler_kwargs";
  }
  const { stable, decay } = stablePhases(span);
  return stable >= 0 && decay >= 0 ? undefined : `${span.warmupSteps} steps ` +
    `of warm-up and ${decay} of decay are more than the ${span.maxSteps} steps of the run`;
}

/**
 * `torch.optim.lr_scheduler.ReduceLROnPlateau`: the rate falls by `factor` after
 * more than `patience` evaluations without a metric that is better by `threshold`.
 */
function reduceOnPlateau(_step: number, span: ScheduleSpan): number {
  const { settings = {}, learningRate = 1, metrics = [] } = span;
  const number = (name: string): number => numberOf(span, name);
  const isGain = (value: number, least: number): boolean => {
    const margin = number("threshold") *
      (settings.threshold_mode === "abs" ? 1 : least);
    return settings.mode === "max"
      ? value > least + margin
      : value < least - margin;
  };
  let rate = learningRate;
  let best: number | null = null;
  let [bad, cooling] = [0, 0];
  for (const value of metrics) {
    if (best === null || isGain(value, best)) {
      best = value;
      bad = 0;
    } else bad++;
    if (cooling > 0) {
      cooling--;
      bad = 0;
    }
    if (bad <= number("patience")) continue;
    const lower = Math.max(rate * number("factor"), number("min_lr"));
    if (rate - lower > number("eps")) rate = lower;
    cooling = number("cooldown");
    bad = 0;
  }
  return learningRate === 0 ? 1 : rate / learningRate;
}

/** The schedules by transformers' names. */
export const SCHEDULES: Readonly<Record<string, ScheduleDefinition>> = {
  linear: {
    factor: afterWarmup((step, span) =>
      Math.max(0, (span.maxSteps - step) / stepsAfterWarmup(span))
    ),
  },
  cosine: {
    settings: { num_cycles: 0.5 },
    factor: afterWarmup((step, span) => {
      const progress = (step - span.warmupSteps) / stepsAfterWarmup(span);
      return Math.max(0, cosine(progress, numberOf(span, "num_cycles")));
    }),
  },
  cosine_with_restarts: {
    settings: { num_cycles: 1 },
    factor: afterWarmup((step, span) => {
      const progress = (step - span.warmupSteps) / stepsAfterWarmup(span);
      const wave = numberOf(span, "num_cycles") * progress % 1;
      return progress >= 1 ? 0 : Math.max(0, cosine(wave, 0.5));
    }),
  },
  polynomial: {
    settings: { lr_end: 1e-7, power: 1 },
    problem: ({ settings, learningRate }) =>
      learningRate > Number(settings.lr_end)
        ? undefined
        : `lr_end (${settings.lr_end}) must be smaller than initial lr (${learningRate})`,
    factor: afterWarmup((step, span) => {
      const { maxSteps, warmupSteps, learningRate = 1 } = span;
      const end = numberOf(span, "lr_end");
      if (step > maxSteps) return end / learningRate;
      const left = maxSteps === warmupSteps
        ? 0
        : 1 - (step - warmupSteps) / (maxSteps - warmupSteps);
      const decay = (learningRate - end) * left ** numberOf(span, "power");
      return (decay + end) / learningRate;
    }),
  },
  constant: { factor: () => 1 },
  constant_with_warmup: { factor: afterWarmup(() => 1) },
  inverse_sqrt: {
    settings: { timescale: null },
    factor: afterWarmup((step, { warmupSteps, settings = {} }) => {
      const scale = Number(settings.timescale ?? (warmupSteps || 10_000));
      return 1 / Math.sqrt((step + scale - warmupSteps) / scale);
    }),
  },
  cosine_with_min_lr: {
    settings: LOWEST_RATE,
    problem: lowestRateProblem,
    factor: afterWarmup((step, span) => {
      const progress = (step - span.warmupSteps) / stepsAfterWarmup(span);
      const wave = cosine(progress, numberOf(span, "num_cycles"));
      return atLeast(lowestShare(span), wave);
    }),
  },
  cosine_warmup_with_min_lr: {
    settings: { ...LOWEST_RATE, warmup_lr_rate: null },
    problem: lowestRateProblem,
    factor: (step, span) => {
      const { warmupSteps, settings = {} } = span;
      const start = settings.warmup_lr_rate ?? null;
      if (step < warmupSteps) {
        return start === null
          ? (step + 1) / Math.max(1, warmupSteps)
          : Number(start) +
            (1 - Number(start)) * step / Math.max(1, warmupSteps - 1);
      }
      const progress = (step - warmupSteps + 1) / stepsAfterWarmup(span);
      const wave = cosine(progress, numberOf(span, "num_cycles"));
      return atLeast(lowestShare(span), wave);
    },
  },
  reduce_lr_on_plateau: {
    followsMetrics: true,
    settings: {
      mode: "min",
      factor: 0.1,
      patience: 10,
      threshold: 1e-4,
      threshold_mode: "rel",
      cooldown: 0,
      min_lr: 0,
      eps: 1e-8,
    },
    problem: ({ settings: { mode, threshold_mode, factor } }) =>
      mode !== "min" && mode !== "max"
        ? `"mode" is ${JSON.stringify(mode)}, expected "min" or "max"`
        : threshold_mode !== "rel" && threshold_mode !== "abs"
        ? `"threshold_mode" is ${
          JSON.stringify(threshold_mode)
        }, expected "rel" or "abs"`
        : Number(factor) < 1
        ? undefined
        : `"factor" is ${factor}, expected less than 1`,
    factor: reduceOnPlateau,
  },
  warmup_stable_decay: {
    settings: {
      num_decay_steps: null,
      num_stable_steps: null,
      warmup_type: "linear",
      decay_type: "cosine",
      min_lr_ratio: 0,
      num_cycles: 0.5,
    },
    problem: stableProblem,
    factor: warmupStableDecay,
  },
};
