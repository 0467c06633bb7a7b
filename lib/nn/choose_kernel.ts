/**
 * Which kernel computes attention over segments on a device. A CPU has one. On
 * other devices the fastest that can compute a small tree of segments as the plain
 * formula does is taken: which kernels a device has depends on its age, the type and
 * the size of a head, and differs between releases of PyTorch.
 *
 * @module
 */

import {
  aten,
  deviceName,
  noGrad,
  type Tensor,
  tensor,
  tensorScope,
  to,
  TorchError,
} from "../tensor/mod.ts";
import type { Segment } from "../data/batch.ts";
import {
  type AttentionKernel,
  cpuKernel,
  efficientKernel,
  flashKernel,
  plainKernel,
} from "./attention_kernels.ts";
import { BatchContext } from "./batch_context.ts";
import {
  segmentAttention,
  segmentAttentionBackward,
  type SegmentInput,
} from "./segment_attention.ts";

/** Kernels of CUDA devices, the fastest first. */
const FAST = [flashKernel, efficientKernel] as const;
/** Largest difference from the plain formula, in half types and with float32 products cut to 10 bits. */
const LIMIT = 0.03;
const HEADS = 2;
const FACTOR = 0.4;

/** A prefix, two that continue it, and one alone. */
const TREE: readonly Segment[] = [
  { start: 0, length: 5, parent: null },
  { start: 5, length: 3, parent: 0 },
  { start: 8, length: 4, parent: 0 },
  { start: 12, length: 2, parent: null },
];
const POSITIONS = [0, 1, 2, 3, 4, 5, 6, 7, 5, 6, 7, 8, 0, 1];

const chosen = new Map<string, AttentionKernel>();

/**
 * The kernel for queries such as `query`, `[rows, heads, length, headSize]`; only
 * the CPU's and the plain one add a bias.
 */
export function attentionKernel(
  query: Tensor,
  { hasBias }: { readonly hasBias: boolean },
): AttentionKernel {
  if (query.device.type === "cpu") return cpuKernel;
  if (hasBias) return plainKernel;
  const key = `${deviceName(query.device)} ${query.dtype} ${query.shape[3]}`;
  const known = chosen.get(key);
  if (known !== undefined) return known;
  const kernel = FAST.find((each) => computes(each, query)) ?? plainKernel;
  chosen.set(key, kernel);
  return kernel;
}

/** Whether `kernel` computes a small tree, in the type and on the device of `like`, as the plain formula does. */
export function computes(kernel: AttentionKernel, like: Tensor): boolean {
  using _scope = tensorScope();
  using _frozen = noGrad();
  try {
    const expected = results(plainKernel, like);
    const actual = results(kernel, like);
    return expected.every((values, index) => isClose(actual[index]!, values));
  } catch (error) {
    // there is no such kernel for the device, the type or the size
    if (error instanceof TorchError) return false;
    throw error;
  }
}

function isClose(actual: Float64Array, expected: Float64Array): boolean {
  return actual.length === expected.length &&
    actual.every((value, at) => Math.abs(value - expected[at]!) <= LIMIT);
}

/** Output, log-sum-exps and gradients of the small tree. */
function results(kernel: AttentionKernel, like: Tensor): Float64Array[] {
  const { device, dtype } = like;
  const size = like.shape[3]!;
  const tokens = POSITIONS.length;
  // random numbers would change the dropout that a seed gives
  const made = (phase: number): Tensor => {
    const values = Array.from(
      { length: tokens },
      (_, token) =>
        Array.from(
          { length: HEADS },
          (_, head) =>
            Array.from({ length: size }, (_, at) =>
              Math.sin(phase + 1.7 * token + 0.9 * head + 0.31 * at * phase)),
        ),
    );
    const laid = to(tensor([values]), { device, dtype });
    return aten.transpose(laid, 1, 2);
  };
  const geometry = {
    positions: Int32Array.from(POSITIONS),
    segments: TREE,
  };
  const context = new BatchContext(geometry, { device });
  const input: SegmentInput = {
    query: made(1),
    keys: made(2),
    values: made(3),
    scale: FACTOR / Math.sqrt(size),
    kernel,
    calls: context.attentionCalls(kernel.isRagged),
    startsOf: (call) => context.callStarts(call),
    biasOf: () => null,
  };
  const output = segmentAttention(input);
  const gradients = segmentAttentionBackward(made(4), input, output);
  return [output.output, output.logSums, ...gradients].map((each) =>
    each.toArray()
  );
}
