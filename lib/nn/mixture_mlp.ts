/**
 * A mixture of experts (Shazeer et al., arXiv:1701.06538): a router chooses for each
 * token a few of many MLPs and adds up what they make.
 *
 * @module
 */

import { aten, fromData, type Tensor, to } from "../tensor/mod.ts";
import { type Activation, ACTIVATIONS } from "./activations.ts";
import { Module, ModuleList, type ParameterSpec } from "./module.ts";

/** Sizes of a {@linkcode MixtureMlp}. */
export interface MixtureOptions {
  /** Width of the hidden states. */
  readonly hiddenSize: number;
  /** Width between the projections of an expert. */
  readonly expertSize: number;
  /** What an expert's gate goes through. */
  readonly activation: Activation;
  /** How many experts there are. */
  readonly experts: number;
  /** How many of them compute a token. */
  readonly expertsPerToken: number;
  /** Whether the chosen experts' shares of a token add up to 1. */
  readonly normsShares: boolean;
}

/** A matrix `[outFeatures, inFeatures]`. It is not a `Projection`: to peft it is part of a larger parameter. */
export class Matrix extends Module {
  /** `[outFeatures, inFeatures]` */
  declare weight: Tensor;

  /** Says the shape. */
  constructor(readonly outFeatures: number, readonly inFeatures: number) {
    super();
  }

  /** The weight. */
  override parameterSpecs(): readonly ParameterSpec[] {
    const shape = [this.outFeatures, this.inFeatures];
    return [{ name: "weight", shape, init: "normal" }];
  }

  /** `[rows, inFeatures]` to `[rows, outFeatures]`. */
  forward(input: Tensor): Tensor {
    return aten.linear(input, this.weight);
  }
}

/** `down(act(gate(x)) ∘ up(x))`. */
export class Expert extends Module {
  /** Makes the gate: `[rows, hidden]` to `[rows, expert]`. */
  gate_proj: Matrix;
  /** Makes what is gated, of the shape of the gate. */
  up_proj: Matrix;
  /** Brings the product back: `[rows, expert]` to `[rows, hidden]`. */
  down_proj: Matrix;
  readonly #activation: Activation;

  /** Makes the three matrices without weights. */
  constructor(options: MixtureOptions) {
    super();
    const { hiddenSize, expertSize } = options;
    this.gate_proj = new Matrix(expertSize, hiddenSize);
    this.up_proj = new Matrix(expertSize, hiddenSize);
    this.down_proj = new Matrix(hiddenSize, expertSize);
    this.#activation = options.activation;
  }

  /** Maps `[rows, hidden]`. */
  forward(input: Tensor): Tensor {
    const gate = ACTIVATIONS[this.#activation](this.gate_proj.forward(input));
    return this.down_proj.forward(aten.mul(gate, this.up_proj.forward(input)));
  }
}

/** The layer in the place of an MLP. */
export class MixtureMlp extends Module {
  /** The experts. */
  experts: ModuleList<Expert>;
  /** The router: `[tokens, hidden]` to `[tokens, experts]`. */
  gate: Matrix;

  /** Makes router and experts without weights. */
  constructor(readonly options: MixtureOptions) {
    super();
    const { experts, hiddenSize } = options;
    this.experts = new ModuleList(
      Array.from({ length: experts }, () => new Expert(options)),
    );
    this.gate = new Matrix(experts, hiddenSize);
  }

  /** Maps `[tokens, hidden]`, and adds `residual` when given. */
  forward(input: Tensor, residual: Tensor | null = null): Tensor {
    const [tokens = 0, hidden = 0] = input.shape;
    const { expertsPerToken: count } = this.options;
    const { shares, chosen } = this.#route(input);
    const { order, starts } = byExpert(chosen, this.options);
    const { device } = input;
    const rows = aten.indexSelect(
      input,
      0,
      to(indexOf(order.map((place) => Math.floor(place / count))), { device }),
    );
    const made = this.experts.items.flatMap((expert, at) => {
      const [start, end] = [starts[at]!, starts[at + 1]!];
      return start === end
        ? []
        : [expert.forward(aten.slice(rows, 0, start, end))];
    });
    const places = new Int32Array(order.length);
    order.forEach((place, at) => places[place] = at);
    const inOrder = aten.indexSelect(
      aten.cat(made, 0),
      0,
      to(indexOf(places), { device }),
    );
    // [tokens, chosen experts, hidden]
    const parts = aten.view(inOrder, [tokens, count, hidden]);
    const mixed = aten.sumDim(aten.mul(parts, aten.unsqueeze(shares, 2)), [1]);
    return residual === null ? mixed : residual.add(mixed);
  }

  /** The chosen experts of each token and their shares of it, `[tokens, chosen experts]`. */
  #route(input: Tensor): { shares: Tensor; chosen: Float64Array } {
    const { expertsPerToken, normsShares } = this.options;
    const logits = this.gate.forward(input);
    const all = aten.softmax(logits, -1, "float32");
    const [best, experts] = aten.topk(all, expertsPerToken, -1, true, true);
    const shares = normsShares
      ? aten.div(best, aten.sumDim(best, [-1], true))
      : best;
    return {
      shares: aten.toDtype(shares, logits.dtype),
      chosen: experts.toArray(),
    };
  }
}

/** Places in `chosen` sorted by expert, and where in them each expert's begin. */
function byExpert(
  chosen: Float64Array,
  options: MixtureOptions,
): { order: Int32Array; starts: Int32Array } {
  const starts = new Int32Array(options.experts + 1);
  for (const expert of chosen) starts[expert + 1]!++;
  for (let at = 0; at < options.experts; at++) starts[at + 1]! += starts[at]!;
  const next = starts.slice();
  const order = new Int32Array(chosen.length);
  chosen.forEach((expert, place) => order[next[expert]!++] = place);
  return { order, starts };
}

function indexOf(places: Int32Array): Tensor {
  const { length, buffer, byteOffset, byteLength } = places;
  return fromData({
    dtype: "int32",
    shape: [length],
    bytes: new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength),
  });
}
