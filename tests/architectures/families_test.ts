/**
 * Every family against its golden numbers: `tests/fixtures/families` holds for each a
 * tiny checkpoint and what transformers and peft, or the formulas in
 * `references.py`, compute from it.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  type CausalLm,
  saveModel,
} from "../../lib/architectures/mod.ts";
import type { Batch } from "../../lib/data/batch.ts";
import type { TensorData } from "../../lib/formats/dtype.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { KeyValueCache } from "../../lib/nn/mod.ts";
import {
  getPeftModel,
  matchTargets,
  PeftModel,
  targetTree,
} from "../../lib/peft/mod.ts";
import { loraConfig } from "../../lib/peft/lora_config.ts";
import {
  aten,
  CPU,
  fromData,
  noGrad,
  type Tensor,
  tensorScope,
} from "../../lib/tensor/mod.ts";
import { accumulateGradients, FlatParameters } from "../../lib/training/mod.ts";
import { trainableModel } from "../../lib/training/trainable_model.ts";
import { assertClose } from "../closeness.ts";
import { errorOf, inFolder } from "../formats/temporary.ts";
import { goldenBatch, numbersOf } from "../training/tiny_run.ts";

const FOLDER = "tests/fixtures/families";

/** One line of `families.json`. */
interface Family {
  readonly name: string;
  readonly adapted_loss: number;
  readonly all_linear: readonly string[];
  /** The loss with adapters on all of these, where they are more than `targeted`. */
  readonly all_linear_loss?: number;
  readonly targeted: readonly string[];
  readonly default_targets: readonly string[] | null;
}

const LIMIT = 1e-4;
const FAMILIES: readonly Family[] = JSON.parse(
  Deno.readTextFileSync(`${FOLDER}/families.json`),
);

type Golden = ReadonlyMap<string, TensorData>;

function goldenOf({ name }: Pick<Family, "name">): Golden {
  return readSafetensors(`${FOLDER}/${name}/golden.safetensors`);
}

/** The golden ids, `[2, 13]`, or the first `count` of each row. */
function idsOf(golden: Golden, count?: number): Tensor {
  const ids = fromData(golden.get("ids")!);
  return count === undefined ? ids : aten.slice(ids, 1, 0, count);
}

/** Logits of `ids`, of shape `[rows, length, vocabulary]`, in training mode where asked. */
function logitsOf(
  model: CausalLm,
  ids: Tensor,
  options: { training?: boolean; caches?: readonly KeyValueCache[] } = {},
): Tensor {
  const { training = false, caches } = options;
  model.train(training);
  const logits = model.forward(ids, caches === undefined ? {} : { caches });
  model.train(false);
  return aten.reshape(logits, [...ids.shape, -1]);
}

/** Fails unless logits of the golden ids are the golden ones. */
function assertGoldenLogits(
  model: CausalLm,
  golden: Golden,
  name = "logits",
): void {
  using _scope = tensorScope();
  using _frozen = noGrad();
  const ids = idsOf(golden);
  const check = (logits: Tensor, what: string): void =>
    assertClose(logits.toArray(), numbersOf(golden.get(what)!), {
      limit: LIMIT,
      what,
    });
  check(logitsOf(model, ids, { training: true }), name);
  if (name !== "logits") return;
  if (golden.has("logits_inference")) {
    check(logitsOf(model, ids), "logits_inference");
  }
  if (golden.has("logits_5")) {
    check(logitsOf(model, idsOf(golden, 5)), "logits_5");
  }
}

/** One test of every folder. */
function testEach(
  criterion: string,
  run: (family: Family, folder: string) => void,
  skips: readonly string[] = [],
): void {
  for (const family of FAMILIES) {
    if (skips.includes(family.name)) continue;
    Deno.test({
      name: `${family.name} ${criterion}`,
      fn: () => run(family, `${FOLDER}/${family.name}`),
    });
  }
}

testEach("gives the reference's logits", (family, folder) => {
  using model = AutoModelForCausalLM.fromPretrained(folder);
  assertGoldenLogits(model, goldenOf(family));
});

testEach(
  "gives the same logits from the config of the other transformers",
  (family, folder) => {
    inFolder((other) => {
      const config = `${folder}/config_other.json`;
      Deno.copyFileSync(config, `${other}/config.json`);
      const weights = "model.safetensors";
      Deno.copyFileSync(`${folder}/${weights}`, `${other}/${weights}`);
      using model = AutoModelForCausalLM.fromPretrained(other);
      assertGoldenLogits(model, goldenOf(family));
    });
  },
  FAMILIES.map(({ name }) => name).filter((name) => !hasOtherConfig(name)),
);

function hasOtherConfig(name: string): boolean {
  return [...Deno.readDirSync(`${FOLDER}/${name}`)].some((entry) =>
    entry.name === "config_other.json"
  );
}

/** Fails unless loss and gradients of a batch of the golden rows are the golden ones. */
function assertGoldenGradients(
  family: Pick<Family, "name" | "adapted_loss">,
  batch: Batch,
  options: { checkpointing: boolean; adapter?: string },
): void {
  const baseFolder = `${FOLDER}/${family.name}`;
  const folder = `${baseFolder}${options.adapter ?? ""}`;
  using base = AutoModelForCausalLM.fromPretrained(baseFolder);
  using model = PeftModel.fromPretrained(base, `${folder}/adapter`);
  using flat = new FlatParameters(trainableModel(model).parameters, CPU);
  base.train();
  const loss = accumulateGradients(base, batch, {
    ...options,
    autocast: null,
    seed: [1],
    factor: 1 / batch.targets.labels.length,
  });
  assertClose([loss], [family.adapted_loss], { limit: LIMIT, what: "losses" });
  const gradients = readSafetensors(`${folder}/gradients.safetensors`);
  assert.equal(flat.entries.length, gradients.size);
  for (const { path, view } of flat.entries) {
    const wanted = gradients.get(`base_model.model.${path}`);
    assert(wanted !== undefined, path);
    assertClose(view.grad!.toArray(), numbersOf(wanted), {
      limit: LIMIT,
      what: path,
    });
  }
}

for (const checkpointing of [false, true]) {
  testEach(
    `gives the reference's loss and gradients, checkpointing ${checkpointing}`,
    (family) => {
      const batch = goldenBatch(goldenOf(family));
      assertGoldenGradients(family, batch, { checkpointing });
    },
  );
}

testEach("gives the reference's logits with an adapter", (family, folder) => {
  using base = AutoModelForCausalLM.fromPretrained(folder);
  using _adapter = PeftModel.fromPretrained(base, `${folder}/adapter`);
  assertGoldenLogits(base, goldenOf(family), "adapted_logits");
});

/** The golden rows without their padding, laid end to end. */
function endToEnd(padded: Batch): Batch {
  const length = padded.inputIds.length / 2;
  const lengths = [13, 9];
  const starts = [0, 13];
  const places = lengths.flatMap((count, row) =>
    Array.from({ length: count }, (_, at) => row * length + at)
  );
  return {
    inputIds: BigInt64Array.from(places, (at) => padded.inputIds[at]!),
    positions: Int32Array.from(places, (at) => padded.positions[at]!),
    segments: lengths.map((count, row) => ({
      start: starts[row]!,
      length: count,
      parent: null,
    })),
    targets: {
      ...padded.targets,
      rows: padded.targets.rows.map((at) => BigInt(places.indexOf(Number(at)))),
    },
    tokens: places.length,
  };
}

testEach(
  "gives the reference's loss and gradients of rows laid end to end",
  (family) => {
    const batch = endToEnd(goldenBatch(goldenOf(family)));
    assert.deepEqual([batch.inputIds.length, batch.positions[13]], [22, 0]);
    assertGoldenGradients(family, batch, { checkpointing: false });
  },
);

testEach(
  "computes in bfloat16 and under autocast what the reference does, nearly",
  (family, folder) => {
    const batch = goldenBatch(goldenOf(family));
    for (const torchDtype of ["bfloat16", "float32"] as const) {
      using base = AutoModelForCausalLM.fromPretrained(folder, { torchDtype });
      using model = PeftModel.fromPretrained(base, `${folder}/adapter`);
      using flat = new FlatParameters(trainableModel(model).parameters, CPU);
      base.train();
      const loss = accumulateGradients(base, batch, {
        checkpointing: torchDtype === "bfloat16",
        autocast: torchDtype === "float32" ? "bfloat16" : null,
        seed: [1],
        factor: 1 / batch.targets.labels.length,
      });
      assertClose([loss], [family.adapted_loss], {
        limit: 0.05,
        what: torchDtype,
      });
      assert(flat.entries.every(({ view }) => view.grad!.size > 0));
    }
  },
);

testEach("gives with a cache the logits it gives without", (family, folder) => {
  const golden = goldenOf(family);
  using model = AutoModelForCausalLM.fromPretrained(folder);
  using _scope = tensorScope();
  using _frozen = noGrad();
  // Where rotations follow the length of a row, cached keys stay as they were.
  const isSteady = !golden.has("logits_5") && !golden.has("logits_inference");
  const ids = isSteady ? idsOf(golden) : idsOf(golden, 5);
  const whole = logitsOf(model, ids);
  const length = ids.shape[1]!;
  const caches = model.decoderLayers.map(() => new KeyValueCache());
  const parts: Tensor[] = [];
  for (let at = 0; at < length;) {
    const end = at === 0 ? Math.ceil(length / 2) : at + 1;
    parts.push(logitsOf(model, aten.slice(ids, 1, at, end), { caches }));
    at = end;
  }
  assertClose(aten.cat(parts, 1).toArray(), whole.toArray(), { limit: 1e-5 });
  for (const cache of caches) cache[Symbol.dispose]();
});

testEach(
  "has peft's modules for all-linear and peft's default targets",
  (family, folder) => {
    const model = AutoModelForCausalLM.fromConfig(folder);
    const config = loraConfig({ target_modules: "all-linear" });
    const report = matchTargets(targetTree(model), config);
    const parameters = report.parameters.map((path) =>
      path.replace(/\.weight$|\.down_proj$/, "")
        .replace(/\.gate_up_proj$/, ".base_layer")
    );
    assert.deepEqual(
      [...report.targeted, ...parameters].sort(),
      [...family.all_linear].sort(),
    );
    if (family.default_targets === null) {
      const { modelType } = model.config;
      assert.match(
        errorOf(() => getPeftModel(model)),
        RegExp(`"${modelType}" have no default target_modules, name some of `),
      );
      return;
    }
    using base = AutoModelForCausalLM.fromPretrained(folder);
    using adapted = getPeftModel(base);
    assert.deepEqual(adapted.report.trainedNames, family.default_targets);
  },
);

testEach("is the same after it was saved and loaded", (family, folder) => {
  inFolder((saved) => {
    {
      using model = AutoModelForCausalLM.fromPretrained(folder);
      saveModel(model, saved);
    }
    using model = AutoModelForCausalLM.fromPretrained(saved);
    assertGoldenLogits(model, goldenOf(family));
  });
});

for (const { name, all_linear_loss: loss } of FAMILIES) {
  if (loss === undefined) continue;
  const folder = `${FOLDER}/${name}/all_linear`;
  Deno.test(`${name} gives the reference's logits, loss and gradients with adapters on experts and router`, () => {
    const golden = goldenOf({ name });
    {
      using base = AutoModelForCausalLM.fromPretrained(`${FOLDER}/${name}`);
      using _adapter = PeftModel.fromPretrained(base, `${folder}/adapter`);
      const adapted = readSafetensors(`${folder}/golden.safetensors`);
      const both = new Map([...golden, ...adapted]);
      assertGoldenLogits(base, both, "adapted_logits");
    }
    for (const checkpointing of [false, true]) {
      assertGoldenGradients(
        { name, adapted_loss: loss },
        goldenBatch(golden),
        { checkpointing, adapter: "/all_linear" },
      );
    }
  });
}
