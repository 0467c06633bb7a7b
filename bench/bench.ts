/**
 * `deno task bench`: measures speed and memory of lorikeet and of transformers with
 * peft side by side on this machine, which must be quiet. What is measured and how:
 * `side_by_side.ts`, `workloads.ts`.
 *
 * @module
 */

import { HfArgumentParser, InputError } from "../mod.ts";
import type { SettingsOf, SettingsTable } from "../lib/arguments/mod.ts";
import { deviceNamed, ensureLibtorch } from "../lib/tensor/mod.ts";
import { runCommand } from "../tasks/report_error.ts";
import { compareGeneration } from "./generation.ts";
import { describeLimits, machineLimits } from "./machine_limits.ts";
import { pictureOf } from "./picture.ts";
import { comparePlainSteps } from "./plain_step.ts";
import {
  describeComparison,
  describeMachine,
  keepResult,
  readResults,
} from "./results.ts";
import { compare, type Work } from "./side_by_side.ts";
import { printParts } from "./step_breakdown.ts";
import { busyReason, type Machine, watchMachine } from "./watch.ts";
import {
  makeModel,
  makeRows,
  namesOf,
  PROFILES,
  type SizeName,
  SIZES,
} from "./workloads.ts";

const SETTINGS = {
  profile: {
    kind: "list",
    default: ["recipe", "mixed", "long"],
    help: "What is measured: recipe (rows with a shared instruction of 540 " +
      "tokens), mixed (short and long rows without one), long (2,048 tokens); " +
      "parts (of a step of lorikeet, beside the machine's limits), step (one " +
      "step against plain PyTorch too), generation, rows (tokenising), load " +
      "(of a model)",
  },
  size: {
    kind: "list",
    default: ["15M", "135M"],
    help: "Models: 15M, 135M, 500M, and 7B on a GPU; random weights",
  },
  precision: {
    kind: "list",
    default: ["fp32"],
    help: "fp32, bf16",
  },
  rounds: {
    kind: "int",
    default: 3,
    help: "How often both are measured, in turn; medians are shown",
  },
  steps: {
    kind: "int",
    default: null,
    help: "Steps that are timed after the first; none: by size, 2 to 8",
  },
  batch: {
    kind: "int",
    default: null,
    help: "Rows of a batch; none: by profile and size, 1 to 16",
  },
  busy: {
    kind: "bool",
    default: false,
    help: "Measure although other programs use the processors, and do not " +
      "keep the results",
  },
  svg: {
    kind: "bool",
    default: false,
    help: "Only draw bench/results.svg from the results",
  },
  results: {
    kind: "str",
    default: "bench/results.json",
    isPath: true,
    help: "Where results are kept, the newest of each kind",
  },
} as const satisfies SettingsTable;

type Settings = SettingsOf<typeof SETTINGS>;

/** Models, rows and caches, kept for the next time. */
const SCRATCH = ".cache/bench";
const PRECISIONS = ["fp32", "bf16"] as const;
const TRAINING = Object.keys(PROFILES) as (keyof typeof PROFILES)[];
const OTHERS = ["parts", "step", "generation", "rows", "load"] as const;
/** Seconds for which processors are watched, at first and before each run. */
const WATCHED = { first: 3, again: 1 };
const NEW_TOKENS = 64;

/** The machine; refuses a busy one, unless the user wants it so. */
function quietMachine(seconds: number, { busy }: Settings): Machine {
  const machine = watchMachine(seconds);
  const reason = busyReason(machine);
  if (reason === null) return machine;
  if (!busy) throw new InputError(reason);
  const share = Math.round(100 * machine.idle);
  console.log(`The machine is busy: ${share} % of its processors are idle`);
  return machine;
}

/** Every combination that is asked for, smallest models first. */
function worksOf(settings: Settings): Work[] {
  const sizes = namesOf(
    settings.size,
    Object.keys(SIZES) as SizeName[],
    "size",
  );
  const precisions = namesOf(settings.precision, PRECISIONS, "precision");
  const profiles = TRAINING.filter((it) => settings.profile.includes(it));
  return sizes.flatMap((size) =>
    precisions.flatMap((precision) =>
      profiles.map((profile) => ({
        profile,
        size,
        precision,
        batch: settings.batch ?? SIZES[size].batch[profile],
        steps: settings.steps ?? SIZES[size].steps,
        rounds: settings.rounds,
      }))
    )
  );
}

function checkSettings({ rounds, steps, batch, size }: Settings): void {
  for (const [name, value] of Object.entries({ rounds, steps, batch })) {
    if (value === null || value >= 1) continue;
    throw new InputError(
      `Cannot measure with --${name} ${value}: it must be at least 1`,
      { exitCode: 2 },
    );
  }
  const needsGpu = Object.entries(SIZES).some(([name, sizes]) =>
    size.includes(name) && "needsGpu" in sizes
  );
  if (!needsGpu || deviceNamed("auto").type !== "cpu") return;
  throw new InputError(
    "Cannot measure 7B: there is no CUDA device, and on a CPU a step would " +
      "take half an hour",
  );
}

/** Runs one of the Python scripts that measure both themselves. */
function runScript(name: string, words: readonly string[]): void {
  const { success } = new Deno.Command("python3", {
    args: [`bench/${name}.py`, ...words, "--deno", Deno.execPath()],
    stdout: "inherit",
    stderr: "inherit",
  }).outputSync();
  if (!success) {
    throw new InputError(`Cannot measure ${name}: the script failed`);
  }
}

async function measureOther(
  name: typeof OTHERS[number],
  settings: Settings,
): Promise<void> {
  const { rounds } = settings;
  if (name === "step") return comparePlainSteps(rounds);
  if (name === "load") {
    return runScript(name, [`${SCRATCH}/load`, "--repeats", `${rounds}`]);
  }
  if (name === "rows") {
    const rows = await makeRows(SCRATCH, "recipe");
    const repeats = ["--repeats", `${rounds}`];
    return runScript(name, [`${SCRATCH}/rows`, rows, ...repeats]);
  }
  const works = worksOf({ ...settings, profile: TRAINING });
  if (name === "parts") {
    for (const work of works) await showParts(work);
    return;
  }
  for (const size of new Set(works.map((work) => work.size))) {
    const folder = makeModel(SCRATCH, size, "fp32");
    console.log(`generation, ${size}`);
    compareGeneration(folder, { rounds, newTokens: NEW_TOKENS });
  }
}

/** Prints where the time of a step goes, and what the machine could do. */
async function showParts(
  { profile, size, precision, batch, steps }: Work,
): Promise<void> {
  const length = PROFILES[profile].maxSeqLength;
  console.log(`${profile} ${size} ${precision}, batch ${batch}, on the CPU`);
  const tokens = await printParts(
    makeModel(SCRATCH, size, precision),
    await makeRows(SCRATCH, profile),
    {
      ...{ batch, steps, length, dropout: 0.1, top: 0 },
      bf16: precision === "bf16" ? 1 : 0,
    },
  );
  const shape = { ...SIZES[size], tokens, length };
  const dtype = precision === "bf16" ? "bfloat16" : "float32";
  console.log(describeLimits(machineLimits(shape, dtype), shape));
}

async function main(): Promise<void> {
  const parser = new HfArgumentParser(
    [{ title: "bench arguments", table: SETTINGS }],
    { prog: "deno task bench" },
  );
  const parsed = parser.parseArgsIntoDataclasses(Deno.args);
  if ("help" in parsed) return console.log(parsed.help);
  const [settings] = parsed;
  if (settings.svg) {
    const picture = pictureOf(readResults(settings.results));
    return Deno.writeTextFileSync("bench/results.svg", picture);
  }
  const asked = namesOf(settings.profile, [...TRAINING, ...OTHERS], "profile");
  const works = worksOf(settings);
  const { version } = await ensureLibtorch();
  checkSettings(settings);
  const machine = describeMachine(quietMachine(WATCHED.first, settings));
  console.log(`${machine}; libtorch ${version}`);
  Deno.mkdirSync(SCRATCH, { recursive: true });
  for (const work of works) {
    const comparison = await compare(work, SCRATCH, (who) => {
      quietMachine(WATCHED.again, settings);
      console.log(`${work.profile} ${work.size} ${work.precision}: ${who}`);
    });
    console.log(describeComparison(comparison));
    if (settings.busy) continue;
    const date = new Date().toISOString().slice(0, 10);
    keepResult(settings.results, {
      ...comparison,
      ...{ date, machine, libtorch: version },
    });
  }
  for (const name of OTHERS.filter((it) => asked.includes(it))) {
    await measureOther(name, settings);
  }
}

if (import.meta.main) runCommand(main);
