/**
 * The activations that a `config.json` may name, as `transformers.activations.ACT2FN`
 * computes them.
 *
 * @module
 */

import { aten, type Tensor, tensor } from "../tensor/mod.ts";

/** Applies an activation element by element. */
export type Apply = (input: Tensor) => Tensor;

const gelu: Apply = (input) => aten.gelu(input);
const tanhGelu: Apply = (input) => aten.gelu(input, "tanh");

/** The name of an activation. */
export type Activation =
  | "silu"
  | "swish"
  | "gelu"
  | "gelu_python"
  | "gelu_pytorch_tanh"
  | "gelu_new"
  | "gelu_fast"
  | "quick_gelu"
  | "relu"
  | "relu2"
  | "sigmoid"
  | "tanh";

/** Activations by their names in configurations. */
export const ACTIVATIONS: Readonly<Record<Activation, Apply>> = {
  silu: aten.silu,
  swish: aten.silu,
  gelu,
  gelu_python: gelu,
  gelu_pytorch_tanh: tanhGelu,
  gelu_new: tanhGelu,
  gelu_fast: tanhGelu,
  quick_gelu: (input) => {
    const scale = tensor(1.702, { device: input.device });
    return aten.mul(input, aten.sigmoid(aten.mul(input, scale)));
  },
  relu: aten.relu,
  relu2: (input) => {
    const positive = aten.relu(input);
    return aten.mul(positive, positive);
  },
  sigmoid: aten.sigmoid,
  tanh: aten.tanh,
};

/** All names of activations. */
export const ACTIVATION_NAMES = Object.keys(
  ACTIVATIONS,
) as readonly Activation[];

/** The gradient of an activation's input, from that of its output and the input. */
export type ApplyBackward = (gradient: Tensor, input: Tensor) => Tensor;

const geluBackward: ApplyBackward = (gradient, input) =>
  aten.geluBackward(gradient, input);
const tanhGeluBackward: ApplyBackward = (gradient, input) =>
  aten.geluBackward(gradient, input, "tanh");

/** The gradients of activations for which PyTorch has one operator. */
export const ACTIVATION_GRADIENTS: Readonly<
  Partial<Record<Activation, ApplyBackward>>
> = {
  silu: aten.siluBackward,
  swish: aten.siluBackward,
  gelu: geluBackward,
  gelu_python: geluBackward,
  gelu_pytorch_tanh: tanhGeluBackward,
  gelu_new: tanhGeluBackward,
  gelu_fast: tanhGeluBackward,
};
