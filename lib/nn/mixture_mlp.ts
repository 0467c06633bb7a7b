/**
 * A mixture of experts (Shazeer et al., arXiv:1701.06538): a router chooses for each
 * token a few of many MLPs and adds up what they make.
 *
 * @module
 */

import { aten, fromData, type Tensor, to } from "../tensor/mod.ts";
import { type Activation, ACTIVATIONS } from "./activations.ts";
import { Module, type ParameterSpec } from "./module.ts";

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

/** What an adapter adds to a product: rows of its input to rows of its output. */
export type Addition = (input: Tensor) => Tensor;

/** By the name of a parameter, what is added to products with each matrix of its stack. */
export type Additions = Readonly<
  Partial<Record<string, (matrix: number) => Addition>>
>;

/** Rows of a matrix that a file holds as a tensor of their own. */
export interface MatrixPart {
  /** The tensor's name, relative to the layer. */
  readonly name: string;
  /** The first row. */
  readonly start: number;
  /** One past the last row. */
  readonly end: number;
}

/** One or more matrices of one shape, which transformers holds as one parameter. */
export interface MatrixStack {
  /** The parameter's name in transformers, such as `gate_up_proj`. */
  readonly name: string;
  /** How many matrices there are. */
  readonly count: number;
  /** Width of their input. */
  readonly inFeatures: number;
  /** Width of their output. */
  readonly outFeatures: number;
  /** The tensors that hold one of them, in the order of its rows. */
  parts(matrix: number): readonly MatrixPart[];
}

/** What a {@linkcode ParameterLayer} computes with, besides its input. */
export interface ParameterLayerOptions {
  /** Where the rows of each expert begin, and where the last ones end. */
  readonly starts: ArrayLike<number>;
  /** What adapters add. Default nothing. */
  readonly additions?: Additions;
}

/** A layer whose matrices are parameters, not linear layers: adapters name the parameter. */
export abstract class ParameterLayer extends Module {
  /** The parameters that adapters can name, in the order of transformers. */
  abstract readonly stacks: readonly MatrixStack[];

  /** Maps `input`, whose rows are sorted by expert where there are several. */
  abstract forward(input: Tensor, options: ParameterLayerOptions): Tensor;
}

/** A matrix `[outFeatures, inFeatures]` of an expert. */
class Matrix extends Module {
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
class Expert extends Module {
  /** Makes the gate: `[rows, hidden]` to `[rows, expert]`. */
  gate_proj: Matrix;
  /** Makes what is gated, of the shape of the gate. */
  up_proj: Matrix;
  /** Brings the product back: `[rows, expert]` to `[rows, hidden]`. */
  down_proj: Matrix;

  /** Makes the three matrices without weights. */
  constructor(readonly options: MixtureOptions) {
    super();
    const { hiddenSize, expertSize } = options;
    this.gate_proj = new Matrix(expertSize, hiddenSize);
    this.up_proj = new Matrix(expertSize, hiddenSize);
    this.down_proj = new Matrix(hiddenSize, expertSize);
  }

  /** Maps `[rows, hidden]`; `addGateUp` makes `[rows, 2·expert]`, the gate first. */
  forward(input: Tensor, addGateUp?: Addition, addDown?: Addition): Tensor {
    const { expertSize, activation } = this.options;
    let gate = this.gate_proj.forward(input);
    let up = this.up_proj.forward(input);
    if (addGateUp !== undefined) {
      const added = addGateUp(input);
      gate = gate.add(aten.slice(added, 1, 0, expertSize));
      up = up.add(aten.slice(added, 1, expertSize, 2 * expertSize));
    }
    const gated = aten.mul(ACTIVATIONS[activation](gate), up);
    const output = this.down_proj.forward(gated);
    return addDown === undefined ? output : output.add(addDown(gated));
  }
}

/** The experts, in files under their numbers. */
class Experts extends ParameterLayer {
  /** Gate and input of all experts as one parameter, and what brings them back. */
  override readonly stacks: readonly MatrixStack[];
  readonly #items: readonly Expert[];

  /** Makes the experts without weights. */
  constructor(options: MixtureOptions) {
    super();
    const { experts: count, hiddenSize, expertSize } = options;
    this.#items = Array.from({ length: count }, () => new Expert(options));
    const outFeatures = 2 * expertSize;
    this.stacks = [
      {
        name: "gate_up_proj",
        count,
        inFeatures: hiddenSize,
        outFeatures,
        parts: (matrix) => [
          { name: `${matrix}.gate_proj.weight`, start: 0, end: expertSize },
          {
            name: `${matrix}.up_proj.weight`,
            start: expertSize,
            end: outFeatures,
          },
        ],
      },
      {
        name: "down_proj",
        count,
        inFeatures: expertSize,
        outFeatures: hiddenSize,
        parts: (matrix) => [
          { name: `${matrix}.down_proj.weight`, start: 0, end: hiddenSize },
        ],
      },
    ];
  }

  /** The experts, named by their numbers. */
  override children(): [string, Module][] {
    return this.#items.map((item, index) => [String(index), item]);
  }

  /** Maps `[rows, hidden]`, the rows sorted by expert. */
  override forward(input: Tensor, options: ParameterLayerOptions): Tensor {
    const { starts, additions = {} } = options;
    const { gate_up_proj, down_proj } = additions;
    const made = this.#items.flatMap((expert, at) => {
      const [start, end] = [starts[at]!, starts[at + 1]!];
      if (start === end) return [];
      const rows = aten.slice(input, 0, start, end);
      return [expert.forward(rows, gate_up_proj?.(at), down_proj?.(at))];
    });
    return aten.cat(made, 0);
  }
}

/** The router: `[tokens, hidden]` to `[tokens, experts]`. */
class Router extends ParameterLayer {
  /** `[experts, hidden]` */
  declare weight: Tensor;
  /** The one matrix. */
  override readonly stacks: readonly MatrixStack[];
  readonly #shape: readonly number[];

  /** Makes the router without weights. */
  constructor({ experts, hiddenSize }: MixtureOptions) {
    super();
    this.#shape = [experts, hiddenSize];
    const [inFeatures, outFeatures] = [hiddenSize, experts];
    this.stacks = [{
      name: "weight",
      count: 1,
      inFeatures,
      outFeatures,
      parts: () => [{ name: "weight", start: 0, end: experts }],
    }];
  }

  /** The weight. */
  override parameterSpecs(): readonly ParameterSpec[] {
    return [{ name: "weight", shape: this.#shape, init: "normal" }];
  }

  /** Logits of the experts. */
  override forward(input: Tensor, options: ParameterLayerOptions): Tensor {
    const logits = aten.linear(input, this.weight);
    const add = options.additions?.weight?.(0);
    return add === undefined ? logits : logits.add(add(input));
  }
}

/** The layer in the place of an MLP. */
export class MixtureMlp extends Module {
  /** The experts. */
  experts: ParameterLayer;
  /** The router: `[tokens, hidden]` to `[tokens, experts]`. */
  gate: ParameterLayer;

  /** Makes router and experts without weights. */
  constructor(readonly options: MixtureOptions) {
    super();
    this.experts = new Experts(options);
    this.gate = new Router(options);
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
    const made = this.experts.forward(rows, { starts });
    const places = new Int32Array(order.length);
    order.forEach((place, at) => places[place] = at);
    const inOrder = aten.indexSelect(
      made,
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
    const starts = [0, input.shape[0]!];
    const logits = this.gate.forward(input, { starts });
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
