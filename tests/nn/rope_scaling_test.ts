/**
 * Inverse frequencies of every kind of rope against numbers that
 * `transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS` gave, at 0, 1, 16, 32, 63.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  inverseFrequencies,
  type RopeParameters,
  rotationScale,
} from "../../lib/nn/rope_scaling.ts";

const HEAD = { headSize: 128, maxPositions: 4096 } as const;

const CASES: readonly {
  readonly name: string;
  readonly parameters: RopeParameters;
  readonly length?: number;
  readonly expected: readonly number[];
  readonly scale?: number;
}[] = [{
  name: "default",
  parameters: { ...HEAD, type: "default", theta: 1e4 },
  expected: [1, 0.865964353, 0.100000001, 0.00999999978, 0.000115478193],
}, {
  name: "linear",
  parameters: { ...HEAD, type: "linear", theta: 1e4, factor: 8 },
  expected: [0.125, 0.108245544, 0.0125000002, 0.00124999997, 1.44347741e-5],
}, {
  name: "dynamic within the trained length",
  parameters: { ...HEAD, type: "dynamic", theta: 5e5, factor: 8 },
  length: 4096,
  expected: [1, 0.814617217, 0.0376060307, 0.00141421345, 2.4551407e-6],
}, {
  name: "dynamic beyond the trained length",
  parameters: { ...HEAD, type: "dynamic", theta: 5e5, factor: 8 },
  length: 8192,
  expected: [1, 0.786695957, 0.0215233676, 0.000463255303, 2.72793415e-7],
}, {
  name: "llama3",
  parameters: {
    ...HEAD,
    type: "llama3",
    theta: 5e5,
    factor: 8,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositions: 8192,
  },
  expected: [1, 0.814617217, 0.0376060307, 0.000524846022, 3.06892588e-7],
}, {
  name: "yarn",
  parameters: {
    ...HEAD,
    type: "yarn",
    theta: 1e6,
    factor: 4,
    originalMaxPositions: 32768,
  },
  expected: [1, 0.805842221, 0.0316227786, 0.000602941145, 3.10234441e-7],
  scale: 1.138629436,
}];

for (const { name, parameters, length = 1, expected, scale = 1 } of CASES) {
  Deno.test(`inverseFrequencies() and rotationScale() of ${name} are transformers'`, () => {
    const all = inverseFrequencies(parameters, length);
    assert.equal(all.length, 64);
    for (const [place, index] of [0, 1, 16, 32, 63].entries()) {
      const error = Math.abs(all[index]! / expected[place]! - 1);
      assert(error < 3e-7, `${index}: ${all[index]} for ${expected[place]}`);
    }
    assert(Math.abs(rotationScale(parameters) - scale) < 1e-9);
  });
}

Deno.test("inverseFrequencies() of longrope divides by the long factors beyond the original length only", () => {
  const parameters: RopeParameters = {
    type: "longrope",
    theta: 1e4,
    headSize: 4,
    maxPositions: 32,
    originalMaxPositions: 8,
    shortFactor: [1, 2],
    longFactor: [4, 8],
  };
  const short = [1, Math.fround(1 / 200)];
  const long = [0.25, Math.fround(1 / 800)];
  assert.deepEqual([...inverseFrequencies(parameters, 8)], short);
  assert.deepEqual([...inverseFrequencies(parameters, 9)], long);
  const scale = Math.sqrt(1 + Math.log(4) / Math.log(8));
  assert.equal(rotationScale(parameters), scale);
  assert.equal(rotationScale({ ...parameters, attentionFactor: 1.5 }), 1.5);
});

Deno.test("rotationScale() of yarn follows mscale, mscale_all_dim and attention_factor", () => {
  const yarn: RopeParameters = { ...HEAD, type: "yarn", theta: 1e4, factor: 4 };
  const magnitude = (weight: number): number => 0.1 * weight * Math.log(4) + 1;
  assert.equal(rotationScale(yarn), magnitude(1));
  assert.equal(
    rotationScale({ ...yarn, mscale: 2, mscaleAllDim: 0.5 }),
    magnitude(2) / magnitude(0.5),
  );
  assert.equal(rotationScale({ ...yarn, attentionFactor: 0.7 }), 0.7);
  assert.equal(rotationScale({ ...yarn, factor: 1 }), 1);
});
