/**
 * Each layer's own backward formula against autograd of the layer: projections,
 * gated MLPs with every activation, norms, rotations.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  type Activation,
  ACTIVATION_NAMES,
  CentredRmsNorm,
  FusedGatedMlp,
  GatedMlp,
  Linear,
  type Module,
  RmsNorm,
  RotaryEmbedding,
  rotate,
} from "../../lib/nn/mod.ts";
import { LoraLinear } from "../../lib/peft/mod.ts";
import {
  aten,
  CPU,
  GradientTape,
  manualSeed,
  type Tensor,
  tensorScope,
  to,
} from "../../lib/tensor/mod.ts";
import { assertClose } from "../closeness.ts";

/** A layer with what it is given. */
interface Case {
  readonly module: Module;
  /** Shapes of the inputs. */
  readonly shapes: readonly (readonly number[])[];
  readonly run: (inputs: readonly Tensor[]) => Tensor;
}

type DTypeName = "float32" | "bfloat16";

/** Random weights for everything below `module`, those that `trains` names trained. */
function fill(
  module: Module,
  dtype: DTypeName,
  trains: (path: string) => boolean,
): Tensor[] {
  const parameters: Tensor[] = [];
  for (const [path, part] of module.namedModules()) {
    for (const { name, shape } of part.parameterSpecs()) {
      const weight = to(aten.randn([...shape]), { dtype });
      part.setParameter(name, weight.requireGrad(trains(`${path}.${name}`)));
    }
    if (!(part instanceof LoraLinear)) continue;
    for (const { owner, field, shape } of part.trainedParameters()) {
      owner.setParameter(field, aten.randn([...shape]).requireGrad());
      parameters.push(owner.parameter(field)!);
    }
  }
  for (const { tensor } of module.namedParameters()) {
    if (tensor.requiresGrad) parameters.push(tensor);
  }
  return [...new Set(parameters)];
}

/** Output and gradients of inputs and parameters. */
function computed(
  made: Case,
  way: {
    readonly through: "tape" | "autograd";
    readonly dtype: DTypeName;
    readonly trains: boolean;
    readonly wanted: boolean;
  },
): Float64Array[] {
  using _scope = tensorScope();
  manualSeed(8);
  const { through, dtype } = way;
  const parameters = fill(made.module, dtype, () => way.trains);
  const inputs = made.shapes.map((shape) =>
    to(aten.randn([...shape]), { dtype }).requireGrad(way.wanted)
  );
  made.module.train();
  using tape = through === "tape" ? new GradientTape() : null;
  manualSeed(9);
  const output = made.run(inputs);
  if (!output.isRecorded) return [output.toArray()];
  const gradient = to(aten.randn([...output.shape]), { dtype });
  // twice, so that gradients are added to what there is
  for (const _ of [0, 1]) {
    if (tape === null) {
      aten.backward(output, [], gradient, true);
      continue;
    }
    tape.backward(output, gradient);
    manualSeed(9);
    if (_ === 0) tape.backward(made.run(inputs), gradient);
    break;
  }
  return [output, ...inputs, ...parameters].flatMap((each, index) => {
    const found = index === 0 ? each : each.grad;
    return found === null ? [] : [found.toArray()];
  });
}

/** Compares both ways, with parts of the layer trained and inputs wanted or not. */
function testCase(what: string, make: () => Case): void {
  for (const dtype of ["float32", "bfloat16"] as const) {
    Deno.test(`${what} has autograd's gradients in ${dtype}`, () => {
      let compared = 0;
      for (const trains of [false, true]) {
        for (const wanted of [false, true]) {
          const way = { dtype, trains, wanted };
          const expected = computed(make(), { ...way, through: "autograd" });
          const actual = computed(make(), { ...way, through: "tape" });
          assert.equal(actual.length, expected.length);
          for (const [index, each] of expected.entries()) {
            assertClose(actual[index]!, each, {
              limit: dtype === "float32" ? 3e-6 : 3e-2,
              what: `number ${index}, ${JSON.stringify(way)}`,
            });
            compared++;
          }
        }
      }
      assert(compared > 6, `${compared}`);
    });
  }
}

const SIZES = { hiddenSize: 12, intermediateSize: 10 };

function loraOf(base: Linear, dropout: number): LoraLinear {
  return new LoraLinear(base, { rank: 3, scaling: 1.5, dropout });
}

for (const bias of [false, true]) {
  const linear = (): Linear =>
    new Linear({ inFeatures: 12, outFeatures: 7, bias });
  const shapes = [[6, 12], [6, 7]];
  testCase(`Linear ${bias ? "with" : "without"} bias`, () => {
    const module = linear();
    return { module, shapes, run: ([x, y]) => module.forward(x!, y!) };
  });
  for (const dropout of [0, 0.4]) {
    testCase(
      `LoraLinear ${bias ? "with" : "without"} bias, dropout ${dropout}`,
      () => {
        const module = loraOf(linear(), dropout);
        return { module, shapes, run: ([x, y]) => module.forward(x!, y!) };
      },
    );
  }
}

for (const activation of ACTIVATION_NAMES) {
  testCase(
    `GatedMlp with ${activation}`,
    () => gated(new GatedMlp({ ...SIZES, activation })),
  );
}

for (const activation of ["silu", "relu"] satisfies Activation[]) {
  testCase(
    `FusedGatedMlp with ${activation}`,
    () => gated(new FusedGatedMlp({ ...SIZES, activation })),
  );
}

testCase("GatedMlp with adapters", () => {
  const module = new GatedMlp({ ...SIZES, activation: "silu" });
  for (const name of ["gate_proj", "up_proj", "down_proj"] as const) {
    module[name] = loraOf(module[name] as Linear, 0.2);
  }
  return gated(module);
});

function gated(module: GatedMlp | FusedGatedMlp): Case {
  const shapes = [[6, 12], [6, 12]];
  return { module, shapes, run: ([x, y]) => module.forward(x!, y!) };
}

for (const Norm of [RmsNorm, CentredRmsNorm]) {
  for (const shape of [[6, 8], [2, 3, 4, 8]]) {
    testCase(`${Norm.name} of ${shape.length} dimensions`, () => {
      const module = new Norm(8, 1e-3);
      return { module, shapes: [shape], run: ([x]) => module.forward(x!) };
    });
  }
}

for (const pairing of ["halves", "neighbours"] as const) {
  for (const keepsOrder of [false, true]) {
    for (const headSize of [8, 12]) {
      const order = keepsOrder ? "in order" : "interleaved";
      testCase(
        `rotate() of 8 elements of ${headSize} by ${pairing}, ${order}`,
        () => {
          const module = new Linear({
            inFeatures: 2 * headSize,
            outFeatures: 2 * headSize,
          });
          const rope = new RotaryEmbedding({
            type: "default",
            theta: 100,
            headSize: 8,
            maxPositions: 16,
          });
          const table = rope.table(Int32Array.of(0, 1, 2), CPU);
          const shape = { rows: 2, length: 3, heads: 2, headSize };
          return {
            module,
            shapes: [[6, 2 * headSize]],
            run: ([x]) =>
              rotate(module.forward(x!), { table, shape, pairing, keepsOrder }),
          };
        },
      );
    }
  }
}

/** A linear layer with a formula of its own, as an adapter kind may have. */
class Doubled extends Linear {
  override forward(input: Tensor): Tensor {
    return super.forward(input.add(input));
  }
}

testCase("GatedMlp whose down projection has another formula", () => {
  const module = new GatedMlp({ ...SIZES, activation: "silu" });
  module.down_proj = new Doubled({ inFeatures: 10, outFeatures: 12 });
  return {
    module,
    shapes: [[6, 12]],
    run: ([x]) => module.forward(x!),
  };
});
