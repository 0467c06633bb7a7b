/**
 * The first CUDA device against the same golden numbers as the CPU. Where there is
 * none, these tests are reported as ignored.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { cudaIsAvailable, LibtorchNotFoundError } from "../ffi/mod.ts";
import { AutoModelForCausalLM } from "../lib/architectures/mod.ts";
import { readSafetensors } from "../lib/formats/safetensors.ts";
import { sharedRows } from "../lib/data/mod.ts";
import {
  type AttentionKernel,
  efficientKernel,
  flashKernel,
} from "../lib/nn/attention_kernels.ts";
import { attentionKernel, computes } from "../lib/nn/choose_kernel.ts";
import { PeftModel } from "../lib/peft/mod.ts";
import {
  allowTf32,
  aten,
  deviceName,
  deviceNamed,
  fromData,
  liveTensors,
  noGrad,
  tensor,
  tensorScope,
  to,
  zeros,
} from "../lib/tensor/mod.ts";
import { scheduleFactor } from "../lib/training/schedules.ts";
import { StepEngine } from "../lib/training/step_engine.ts";
import { trainableModel } from "../lib/training/trainable_model.ts";
import { assertClose } from "./closeness.ts";
import {
  GOLDEN,
  goldenBatch,
  MODELS,
  rowOf,
  tinyArguments,
} from "./training/tiny_run.ts";

/** Whether there is a CUDA device; no libtorch, no device. */
function hasCuda(): boolean {
  try {
    return cudaIsAvailable();
  } catch (error) {
    if (error instanceof LibtorchNotFoundError) return false;
    throw error;
  }
}

const ignore = !hasCuda();

Deno.test({
  name: "deviceNamed() of auto is the first CUDA device",
  ignore,
  fn: () => assert.equal(deviceName(deviceNamed("auto")), "cuda:0"),
});

const FAMILIES = "tests/fixtures/families";
const FOLDERS = [MODELS, FAMILIES].flatMap((parent) =>
  [...Deno.readDirSync(parent)].filter((entry) => entry.isDirectory)
    .map(({ name }) => `${parent}/${name}`)
);

for (const folder of FOLDERS) {
  Deno.test({
    name: `AutoModelForCausalLM computes ${folder} on cuda:0 as on the CPU`,
    ignore,
    fn: () => {
      const before = liveTensors();
      {
        const device = deviceNamed("cuda:0");
        using model = AutoModelForCausalLM.fromPretrained(folder, { device });
        model.train();
        using _scope = tensorScope();
        using _frozen = noGrad();
        const golden = readSafetensors(`${folder}/golden.safetensors`);
        const ids = to(fromData(golden.get("ids")!), { device });
        assertClose(
          model.forward(ids).toArray(),
          fromData(golden.get("logits")!).toArray(),
          { limit: 1e-5 },
        );
      }
      assert.equal(liveTensors(), before);
    },
  });
}

/** Losses of ten golden steps on cuda:0, and those that PyTorch had on the CPU. */
function tenSteps(
  args: { bf16?: boolean; fp16?: boolean; gradient_checkpointing?: boolean },
): { losses: number[]; expected: number[] } {
  const golden = JSON.parse(Deno.readTextFileSync(`${GOLDEN}/steps.json`));
  const device = deviceNamed("cuda:0");
  const batch = goldenBatch(readSafetensors(`${GOLDEN}/grads.safetensors`));
  using base = AutoModelForCausalLM.fromPretrained(
    `${MODELS}/llama_gqa`,
    { device },
  );
  using model = PeftModel.fromPretrained(base, `${GOLDEN}/trained`);
  using engine = new StepEngine(
    trainableModel(model),
    tinyArguments({ weight_decay: golden.optimizer.weight_decay, ...args }),
  );
  const schedule = { name: "cosine", warmupSteps: 2, maxSteps: 10 } as const;
  const losses = Array.from(
    { length: 10 },
    (_, step) =>
      engine.step([batch], {
        learningRate: golden.optimizer.lr *
          scheduleFactor(schedule, engine.optimizer.scalars.step),
        loss: "tokens",
        seed: [step],
      }).loss,
  );
  const expected = golden.steps.map(({ loss }: { loss: number }) => loss);
  return { losses, expected };
}

for (const gradient_checkpointing of [false, true]) {
  Deno.test({
    name:
      `StepEngine.step() ten times on cuda:0 gives the CPU's losses, checkpointing ${gradient_checkpointing}`,
    ignore,
    fn: () => {
      const { losses, expected } = tenSteps({ gradient_checkpointing });
      assertClose(losses, expected, { limit: 1e-4 });
    },
  });
}

for (const half of ["bf16", "fp16"] as const) {
  Deno.test({
    name: `StepEngine.step() ten times on cuda:0 with ${half} lowers the loss`,
    ignore,
    fn: () => {
      const { losses } = tenSteps({ [half]: true });
      assert(losses.every(Number.isFinite), losses.join());
      assert(losses.at(-1)! < 0.8 * losses[0]!, losses.join());
    },
  });
}

const KERNELS: readonly (readonly [
  "float32" | "bfloat16" | "float16",
  AttentionKernel,
])[] = [
  ["float32", efficientKernel],
  ["bfloat16", flashKernel],
  ["float16", flashKernel],
];

for (const [dtype, kernel] of KERNELS) {
  Deno.test({
    name:
      `${kernel.name} computes a tree of segments on cuda:0 in ${dtype} as the plain formula does, and is chosen`,
    ignore,
    fn: () => {
      using _scope = tensorScope();
      const device = deviceNamed("cuda:0");
      for (const size of [16, 64, 128]) {
        const query = zeros([1, 2, 3, size], { device, dtype });
        assert.ok(computes(efficientKernel, query), `${size}`);
        assert.ok(computes(kernel, query), `${size}`);
        assert.equal(attentionKernel(query, { hasBias: false }), kernel);
      }
    },
  });
}

const PREFIX = [5, 9, 6, 8, 7, 5, 6, 9, 4, 3, 8, 6];
const SHARING = [
  rowOf([...PREFIX, 10, 11, 12, 13, 14, 4, 6], 11),
  rowOf([...PREFIX, 10, 11, 12, 13, 15], 12),
  rowOf([9, 8, 7, 4, 6, 5, 3], 2),
];

for (const name of ["qwen3", "smollm3_window", "baichuan_13b"]) {
  Deno.test({
    name:
      `${name} has on cuda:0 the CPU's losses and gradient norms for rows that share a prefix`,
    ignore,
    fn: () => {
      const [onGpu, onCpu] = ["cuda:0", "cpu"].map((device) => {
        using model = AutoModelForCausalLM.fromPretrained(
          `${FAMILIES}/${name}`,
          { device: deviceNamed(device) },
        );
        for (const { tensor } of model.namedParameters()) tensor.requireGrad();
        using engine = new StepEngine(trainableModel(model), tinyArguments({}));
        return Array.from({ length: 3 }, (_, step) => {
          const { loss, gradNorm } = engine.step([sharedRows(SHARING)], {
            learningRate: 1e-3,
            loss: "tokens",
            seed: [step],
          });
          return [loss, gradNorm];
        }).flat();
      });
      assertClose(onGpu!, onCpu!, { limit: 1e-4 });
    },
  });
}

Deno.test({
  name: "to() copies a batch's numbers to cuda:0 without waiting, and right",
  ignore,
  fn: () => {
    using _scope = tensorScope();
    const device = deviceNamed("cuda:0");
    for (let round = 0; round < 50; round++) {
      const values = Array.from({ length: 999 }, (_, at) => at * round);
      const moved = to(tensor(values, { dtype: "int64" }), { device });
      assert.deepEqual([...moved.toArray()].map(Number), values);
      assert.equal(tensor(round, { device }).item(), round);
    }
  },
});

Deno.test({
  name: "allowTf32() makes float32 products on cuda:0 coarser, and exact again",
  ignore,
  fn: () => {
    using _scope = tensorScope();
    const device = deviceNamed("cuda:0");
    const x = to(tensor([Array(64).fill(1 + 2 ** -12)]), { device });
    const product = (): number => aten.mm(x, aten.t(x)).item();
    const exact = 64 * (1 + 2 ** -12) ** 2;
    allowTf32(false);
    assertClose([product()], [exact], { limit: 1e-6 });
    allowTf32(true);
    assertClose([product()], [exact], { limit: 1e-2 });
    allowTf32(false);
    assertClose([product()], [exact], { limit: 1e-6 });
  },
});
