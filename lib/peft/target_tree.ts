/**
 * The names in a model that adapters can be put on: linear layers, and the
 * parameters of layers that are none, such as experts.
 *
 * @module
 */

import { type CausalLm, parameterTargets } from "../architectures/mod.ts";
import {
  Embedding,
  joinPath,
  type MatrixStack,
  type Module,
  ParameterLayer,
  Projection,
} from "../nn/mod.ts";

/** The names in a model that matching needs. */
export interface TargetTree {
  /** Paths of the modules that an adapter can wrap, in the order of the tree. */
  readonly linearPaths: readonly string[];
  /** Paths of all modules, but those inside of experts, which are parameters to peft. */
  readonly allPaths: readonly string[];
  /** Input and output width by path; where they are not known, ranks are not bounded. */
  readonly widths?: ReadonlyMap<string, readonly [number, number]>;
  /** Paths of the embeddings, which adapters can wrap too. Default none. */
  readonly embeddingPaths?: readonly string[];
  /** The layer that computes logits, which `all-linear` leaves out. */
  readonly outputPath: string;
  /** The parameters that an adapter can add to, by path, in the order of the tree. Default none. */
  readonly parameters?: ReadonlyMap<string, MatrixStack>;
  /**
   * The parameters that peft takes where `target_modules` names linear layers of
   * transformers 4, such as `gate_up_proj` for `up_proj`. Default none.
   */
  readonly renamed?: ReadonlyMap<string, string>;
}

/** The modules of `base` as peft sees them: none below a layer whose matrices are parameters. */
export function adaptableModules(base: CausalLm): [string, Module][] {
  const modules = [...base.namedModules()];
  const closed = modules.filter(([, module]) =>
    module instanceof ParameterLayer
  );
  return modules.filter(([path]) =>
    !closed.some(([above]) => path.startsWith(`${above}.`))
  );
}

/**
 * The names in `base` that matching needs; its weights need not be loaded.
 *
 * @example
 * ```ts
 * import { AutoModelForCausalLM } from "@lorikeet/lorikeet";
 * import { targetTree } from "@lorikeet/lorikeet/peft";
 *
 * const model = AutoModelForCausalLM.fromConfig("models/tiny-atom");
 * const { linearPaths, outputPath } = targetTree(model);
 * if (!linearPaths.includes(outputPath)) throw new Error("no head");
 * ```
 */
export function targetTree(base: CausalLm): TargetTree {
  const modules = adaptableModules(base);
  const widths = new Map<string, readonly [number, number]>();
  const parameters = new Map<string, MatrixStack>();
  const embeddingPaths: string[] = [];
  for (const [path, module] of modules) {
    if (module instanceof Embedding) embeddingPaths.push(path);
    if (module instanceof Projection) {
      widths.set(path, [module.inFeatures, module.outFeatures]);
    }
    const stacks = module instanceof ParameterLayer ? module.stacks : [];
    for (const stack of stacks) {
      parameters.set(joinPath(path, stack.name), stack);
    }
  }
  return {
    allPaths: modules.map(([path]) => path),
    linearPaths: [...widths.keys()],
    embeddingPaths,
    widths,
    outputPath: base.outputEmbeddingsPath,
    parameters,
    renamed: new Map(Object.entries(parameterTargets(base.config))),
  };
}
