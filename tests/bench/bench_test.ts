/**
 * The bench: what it trains, when it refuses to measure, how numbers become ratios,
 * and the picture. Running it takes minutes and Python, so here it is only asked
 * for what it refuses.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  describeLimits,
  machineLimits,
  productFlops,
} from "../../bench/machine_limits.ts";
import { pictureOf } from "../../bench/picture.ts";
import {
  describeComparison,
  keepResult,
  readResults,
  type Result,
} from "../../bench/results.ts";
import {
  lossDifference,
  measuresOf,
  median,
} from "../../bench/side_by_side.ts";
import { busyReason, type WatchedRun } from "../../bench/watch.ts";
import { benchRows, namesOf, PROFILES } from "../../bench/workloads.ts";
import { liveTensors } from "../../lib/tensor/mod.ts";
import { AutoTokenizer } from "../../mod.ts";
import { taskCommand } from "../tasks/task_process.ts";
import { inFolder } from "../training/tiny_run.ts";

Deno.test("benchRows() gives the same rows again", async () => {
  assert.deepEqual(await benchRows("mixed"), await benchRows("mixed"));
});

Deno.test("benchRows() share 540 tokens in recipe, and nothing in mixed and long", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained("models/tiny-atom");
  const [first, second] = await benchRows("recipe");
  assert.equal(first!.instruction, second!.instruction);
  const tokens = (await tokenizer.encode(first!.instruction)).length;
  assert.ok(Math.abs(tokens - 540) < 20, `${tokens}`);
  assert.notEqual(first!.input, second!.input);
  for (const profile of ["mixed", "long"] as const) {
    const rows = await benchRows(profile);
    assert.ok(rows.every(({ instruction }) => instruction === ""));
    assert.equal(new Set(rows.map((row) => row.input)).size, rows.length);
  }
});

Deno.test("benchRows() of long are each longer than 2,048 tokens, those of mixed of many lengths", async () => {
  const tokenizer = await AutoTokenizer.fromPretrained("models/tiny-atom");
  const lengths = async (profile: "mixed" | "long"): Promise<number[]> => {
    const rows = (await benchRows(profile)).slice(0, 60);
    return await Promise.all(
      rows.map(async ({ input, output }) =>
        (await tokenizer.encode(input)).length +
        (await tokenizer.encode(output)).length
      ),
    );
  };
  const long = await lengths("long");
  assert.ok(Math.min(...long) >= PROFILES.long.maxSeqLength, `${long}`);
  const mixed = await lengths("mixed");
  assert.ok(Math.max(...mixed) > 4 * Math.min(...mixed), `${mixed}`);
});

const MACHINE = {
  idle: 0.94,
  load: 3.5,
  processor: "a processor",
  cores: 2,
  memory_bytes: 2 ** 34,
  widest: "AVX2",
};

Deno.test("busyReason() says what a busy machine does, and nothing of a quiet one", () => {
  assert.equal(busyReason({ ...MACHINE, idle: 0.96 }), null);
  assert.equal(
    busyReason(MACHINE),
    "Cannot measure on this machine: other programs use 6 % of its " +
      "processors, with a load of 3.5; stop them, or measure all the same " +
      "with --busy",
  );
});

/** A run whose steps end at these seconds. */
function runWithSteps(seconds: readonly number[]): WatchedRun {
  return {
    exit: 0,
    error: "",
    lines: [
      ...seconds.map((at) => ({ seconds: at, text: "{'loss': '3.1'}" })),
      { seconds: 99, text: "{'train_runtime': '9'}" },
    ],
    peak_bytes: 5e8,
    processor_seconds: 1,
    device_peak_bytes: null,
  };
}

Deno.test("measuresOf() leaves out the first step and padding", () => {
  assert.deepEqual(
    measuresOf(runWithSteps([10, 12, 16]), { batch: 4, tokens: [7, 30, 60] }),
    { rows_per_s: 8 / 6, tokens_per_s: 15, first_step_s: 10, peak_mb: 500 },
  );
});

Deno.test("measuresOf() does not count batches that were collated ahead", () => {
  const { rows_per_s, tokens_per_s } = measuresOf(runWithSteps([1, 2]), {
    batch: 4,
    tokens: [7, 30, 60],
  });
  assert.deepEqual([rows_per_s, tokens_per_s], [4, 30]);
});

Deno.test("median() is the middle value, or the mean of the two in the middle", () => {
  assert.equal(median([9, 1, 4]), 4);
  assert.equal(median([9, 1, 4, 6]), 5);
});

Deno.test("lossDifference() is the largest relative one, and infinite for other steps", () => {
  assert.equal(lossDifference([2, 4], [2, 5]), 0.2);
  assert.equal(lossDifference([2], [2, 5]), Infinity);
  assert.equal(lossDifference([], []), Infinity);
});

const RESULT: Result = {
  profile: "recipe",
  size: "135M",
  precision: "fp32",
  batch: 4,
  steps: 3,
  rounds: 3,
  lorikeet: {
    rows_per_s: 8,
    tokens_per_s: 4000,
    first_step_s: 5,
    peak_mb: 1000,
  },
  reference: {
    rows_per_s: 2,
    tokens_per_s: 1000,
    first_step_s: 20,
    peak_mb: 4000,
  },
  loss_difference: 1e-7,
  date: "2026-11-24",
  machine: "a <processor>",
  libtorch: "2.13.0",
};

Deno.test("describeComparison() tells how often as fast, and the shares of time and memory", () => {
  assert.match(
    describeComparison(RESULT),
    /4\.00 times as fast, takes 0\.25 of the time .* and 0\.25 of the memory/,
  );
});

Deno.test("keepResult() replaces an older result of its kind and keeps the others", async () => {
  await inFolder((folder) => {
    const path = `${folder}/results.json`;
    keepResult(path, RESULT);
    keepResult(path, { ...RESULT, profile: "long" });
    keepResult(path, { ...RESULT, batch: 8 });
    const kept = readResults(path).map(({ profile, batch }) => [
      profile,
      batch,
    ]);
    assert.deepEqual(kept, [["recipe", 8], ["long", 4]]);
    return Promise.resolve();
  });
});

Deno.test("pictureOf() draws each measure as a share of the reference's", () => {
  const picture = pictureOf([RESULT]);
  assert.match(picture, /^<svg xmlns=/);
  const widths = [
    ...picture.matchAll(/<rect x="190" y="\d+" width="([\d.]+)"/g),
  ]
    .map(([, width]) => Number(width)).filter((width) => width !== 12);
  assert.deepEqual(widths, [100, 100, 100]);
  assert.match(picture, /0\.25 \(4\.0 times as fast\)/);
  assert.match(picture, /a &#60;processor&#62;; 2026-11-24/);
});

Deno.test("namesOf() names all that it does not know", () => {
  assert.throws(() => namesOf(["a", "x", "y"], ["a", "b"], "profile"), {
    message: 'Cannot measure profile "x", "y": there are a, b',
    exitCode: 2,
  });
});

const LAYER = {
  hidden: 64,
  layers: 3,
  heads: 4,
  keyHeads: 2,
  intermediate: 96,
  tokens: 10,
  length: 32,
};

Deno.test("productFlops() counts each projection forward and for its input's gradient", () => {
  const weights = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96;
  assert.equal(productFlops(LAYER), 3 * 10 * weights * 2 * 2);
});

Deno.test("machineLimits() measures rates and leaves no tensor", () => {
  const before = liveTensors();
  const limits = machineLimits(LAYER, "float32");
  for (const rate of Object.values(limits)) assert.ok(rate > 0 && rate < 1e6);
  assert.equal(liveTensors(), before);
  assert.match(
    describeLimits({ ...limits, productGflops: 1e-3 }, LAYER),
    /a step of 10 tokens take 3686 ms$/,
  );
});

Deno.test("deno task bench refuses sizes, profiles and numbers that it cannot measure", async () => {
  const refused = async (flags: string): Promise<string> => {
    const command = taskCommand("bench", flags.split(" "), {});
    const { code, stderr } = await command.output();
    assert.equal(code, 2, flags);
    return new TextDecoder().decode(stderr).trim();
  };
  assert.equal(
    await refused("--size 3M"),
    'Cannot measure size "3M": there are 15M, 135M, 500M, 7B',
  );
  assert.match(await refused("--profile short"), /^Cannot measure profile/);
  assert.match(await refused("--rounds 0"), /it must be at least 1$/);
});
