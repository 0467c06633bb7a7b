/**
 * The kernels of attention over segments behind one seam: the plain formula against
 * PyTorch's fused kernel, a kernel that takes sequences of different lengths, and
 * which one is chosen. Kernels of CUDA devices run in `tests/cuda_test.ts`; here
 * their schemas are checked in `tests/ffi/operators_test.ts`.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import type { Segment } from "../../lib/data/batch.ts";
import {
  type AttentionKernel,
  cpuKernel,
  efficientKernel,
  flashKernel,
  type KernelInput,
  type KernelOutput,
  plainKernel,
} from "../../lib/nn/attention_kernels.ts";
import { attentionKernel, computes } from "../../lib/nn/choose_kernel.ts";
import { BatchContext } from "../../lib/nn/mod.ts";
import {
  attentionCalls,
  segmentAttention,
  segmentAttentionBackward,
} from "../../lib/nn/segment_attention.ts";
import {
  aten,
  CPU,
  manualSeed,
  noGrad,
  type Tensor,
  tensor,
  tensorScope,
  zeros,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";

const SEGMENTS: readonly Segment[] = [
  { start: 0, length: 6, parent: null },
  { start: 6, length: 4, parent: 0 },
  { start: 10, length: 5, parent: 0 },
  { start: 15, length: 3, parent: 1 },
  { start: 18, length: 3, parent: 1 },
  { start: 21, length: 7, parent: null },
];
const POSITIONS = Int32Array.from([
  ...[0, 1, 2, 3, 4, 5],
  ...[6, 7, 8, 9],
  ...[6, 7, 8, 9, 10],
  ...[10, 11, 12],
  ...[10, 11, 12],
  ...[0, 1, 2, 3, 4, 5, 6],
]);

/** Each sequence of a call alone, by the plain formula: a kernel as flash attention is. */
const eachAlone: AttentionKernel = {
  name: "each alone",
  isRagged: true,
  forward(input): KernelOutput {
    const made = sequences(input).map((each) =>
      plainKernel.forward(alone(input, each))
    );
    return {
      output: aten.cat(made.map(({ output }) => output), 2),
      logSums: aten.cat(made.map(({ logSums }) => logSums), 2),
      state: [tensor(made.length)],
    };
  },
  backward(
    gradient,
    input,
    { output, logSums, state },
  ): [Tensor, Tensor, Tensor] {
    const all = sequences(input);
    assert.equal(state[0]!.item(), all.length);
    const made = all.map((each) =>
      plainKernel.backward(
        span(gradient, each.queries),
        alone(input, each),
        {
          output: span(output, each.queries),
          logSums: span(logSums, each.queries),
          state: [],
        },
      )
    );
    return [0, 1, 2].map((which) =>
      aten.cat(made.map((shares) => shares[which]!), 2)
    ) as [Tensor, Tensor, Tensor];
  },
};

type Bounds = readonly [number, number];
type Sequence = { readonly queries: Bounds; readonly keys: Bounds };

function sequences(input: KernelInput): Sequence[] {
  const { queries, keys, longestQueries, longestKeys } = input.starts();
  assert.equal(queries.dtype, "int32");
  const bounds = (starts: Tensor): Bounds[] => {
    const all = [...starts.toArray()];
    return all.slice(1).map((end, at) => [all[at]!, end]);
  };
  const lengthOf = ([start, end]: Bounds): number => end - start;
  const keyBounds = bounds(keys);
  const found = bounds(queries).map((each, at) => ({
    queries: each,
    keys: keyBounds[at]!,
  }));
  assert.equal(
    longestQueries,
    Math.max(...found.map((each) => lengthOf(each.queries))),
  );
  assert.equal(
    longestKeys,
    Math.max(...found.map((each) => lengthOf(each.keys))),
  );
  return found;
}

function span(tensor: Tensor, [start, end]: Bounds): Tensor {
  return aten.slice(tensor, 2, start, end);
}

function alone(input: KernelInput, { queries, keys }: Sequence): KernelInput {
  return {
    ...input,
    query: span(input.query, queries),
    keys: span(input.keys, keys),
    values: span(input.values, keys),
  };
}

/** Output, log-sum-exps and the three gradients of the tree, by `kernel`. */
function computed(
  kernel: AttentionKernel,
  bias: { window?: number; slopes?: readonly number[] } | null = null,
): Float64Array[] {
  using _scope = tensorScope();
  using _frozen = noGrad();
  manualSeed(3);
  const tokens = POSITIONS.length;
  const made = (): Tensor =>
    aten.transpose(aten.randn([1, tokens, 4, 8]), 1, 2);
  const geometry = { positions: POSITIONS, segments: SEGMENTS };
  const context = new BatchContext(geometry, { device: CPU });
  const input = {
    query: made(),
    keys: made(),
    values: made(),
    scale: 0.6,
    kernel,
    calls: context.attentionCalls(kernel.isRagged),
    startsOf: context.callStarts.bind(context),
    biasOf: (call: ReturnType<typeof attentionCalls>[number]) =>
      bias && context.callBias(call, { ...bias, dtype: "float32" }),
  };
  const result = segmentAttention(input);
  const gradients = segmentAttentionBackward(made(), input, result);
  return [result.output, result.logSums, ...gradients].map((each) =>
    each.toArray()
  );
}

const WHAT = ["output", "log-sum-exps", "query", "keys", "values"];

function assertEqual(
  actual: readonly Float64Array[],
  expected: readonly Float64Array[],
): void {
  for (const [index, what] of WHAT.entries()) {
    assertClose(actual[index]!, expected[index]!, { limit: 3e-6, what });
  }
}

const BIASES = {
  "nothing added": null,
  "a window": { window: 4 },
  "slopes": { slopes: [0.5, 0.25, 0.125, 0.0625] },
};

for (const [name, bias] of Object.entries(BIASES)) {
  Deno.test(`plainKernel gives the values, log-sum-exps and gradients of the fused CPU kernel with ${name}`, () => {
    assertEqual(computed(plainKernel, bias), computed(cpuKernel, bias));
  });
}

Deno.test("a kernel that takes sequences of different lengths gives the same, with one call for all segments with themselves", () => {
  assertEqual(computed(eachAlone), computed(cpuKernel));
  const [own, ...shared] = attentionCalls(SEGMENTS, true);
  assert.deepEqual(own!.lengths, [6, 4, 5, 3, 3, 7]);
  assert.deepEqual(own!.queries, { start: 0, end: 28 });
  assert.deepEqual(shared, attentionCalls(SEGMENTS).slice(-shared.length));
});

Deno.test("computes() accepts a kernel that gives what the plain formula gives, ragged or not", () => {
  using _scope = tensorScope();
  for (const dtype of ["float32", "bfloat16"] as const) {
    const like = zeros([1, 2, 3, 16], { dtype });
    for (const kernel of [cpuKernel, eachAlone, plainKernel]) {
      assert.ok(computes(kernel, like), `${kernel.name} in ${dtype}`);
    }
  }
});

Deno.test("computes() refuses a kernel whose log-sum-exps or gradients are others, and one that the device lacks", () => {
  using _scope = tensorScope();
  const like = zeros([1, 2, 3, 16]);
  const otherSums: AttentionKernel = {
    ...cpuKernel,
    forward(input): KernelOutput {
      const made = cpuKernel.forward(input);
      return { ...made, logSums: made.logSums.add(tensor(0.1)) };
    },
  };
  const otherGradients: AttentionKernel = {
    ...cpuKernel,
    backward(gradient, input, result): [Tensor, Tensor, Tensor] {
      const [q, k, v] = cpuKernel.backward(gradient, input, result);
      return [q, v, k];
    },
  };
  const refused = [otherSums, otherGradients, flashKernel, efficientKernel];
  for (const kernel of refused) {
    assert.equal(computes(kernel, like), false, kernel.name);
  }
});

Deno.test("computes() draws no random numbers", () => {
  using _scope = tensorScope();
  const draw = (probe: boolean): number[] => {
    manualSeed(9);
    if (probe) computes(cpuKernel, zeros([1, 2, 3, 16]));
    return [...aten.randn([4]).toArray()];
  };
  assert.deepEqual(draw(true), draw(false));
});

Deno.test("attentionKernel() is the fused CPU kernel on a CPU, with and without a bias", () => {
  using _scope = tensorScope();
  const query = zeros([1, 2, 3, 16]);
  for (const hasBias of [true, false]) {
    assert.equal(attentionKernel(query, { hasBias }), cpuKernel);
  }
});
