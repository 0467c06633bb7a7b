/**
 * Experts and routers, which are linear layers in transformers 4 and parameters in
 * transformers 5: peft takes the names of those layers for these parameters.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import type { LoraConfig } from "./lora_config.ts";
import {
  isAllLinear,
  lastName,
  listed,
  nameRule,
  type Rule,
} from "./target_names.ts";
import type { TargetTree } from "./target_tree.ts";

/**
 * `config` with the names of experts and routers moved from `target_modules` to
 * `target_parameters`, as peft does it. Matrices that one parameter holds together get
 * that many times the rank and the alpha. A second time changes nothing.
 *
 * @throws {InputError} when only some of such matrices are named.
 */
export function withParameterTargets(
  tree: TargetTree,
  config: LoraConfig,
): LoraConfig {
  const renamed = tree.renamed ?? new Map<string, string>();
  const names = renamed.size === 0 ? [] : resolvedNames(tree, config);
  if (names.length === 0) return config;
  const found = new Map<string, string>();
  for (const name of names) {
    const old = [...renamed.keys()].find((each) =>
      name === each || name.endsWith(`.${each}`)
    );
    if (old !== undefined) found.set(name, old);
  }
  const fused = fusedParameters(renamed, new Set(found.values()));
  const times = (value: number): Record<string, number> =>
    Object.fromEntries(
      [...fused].map(([name, count]) => [`.*\\.${name}`, count * value]),
    );
  const parameters = [...found.values()].map((old) => renamed.get(old)!);
  return {
    ...config,
    target_modules: names.filter((name) => !found.has(name)),
    target_parameters: [
      ...new Set([...targetParameters(config), ...parameters]),
    ],
    rank_pattern: { ...config.rank_pattern, ...times(config.r) },
    alpha_pattern: { ...config.alpha_pattern, ...times(config.lora_alpha) },
  };
}

/** The names in `target_parameters`. */
export function targetParameters(config: LoraConfig): readonly string[] {
  return [config.target_parameters ?? []].flat();
}

/** `target_modules` as names; peft takes the last names of what an expression matches. */
function resolvedNames(tree: TargetTree, config: LoraConfig): string[] {
  const { target_modules: targets } = config;
  if (typeof targets !== "string") return [...new Set(targets)];
  const { linearPaths, outputPath, renamed = new Map(), parameters } = tree;
  if (isAllLinear(targets)) {
    const linear = linearPaths.filter((path) => path !== outputPath);
    return [...new Set([...linear.map(lastName), ...renamed.keys()])];
  }
  const isNamed = nameRule("target_modules", targets);
  const isExcluded: Rule = config.exclude_modules === null
    ? () => false
    : nameRule("exclude_modules", config.exclude_modules);
  const matches: Rule = (path) => !isExcluded(path) && isNamed(path);
  const paths = [...parameters?.keys() ?? []];
  const names = [...tree.allPaths, ...paths].filter(matches).map(lastName);
  // In transformers 4, a parameter was a layer of this name at the same place.
  const earlier = [...renamed].filter(([old, now]) =>
    paths.some((path) =>
      path.endsWith(`.${now}`) &&
      matches(`${path.slice(0, -now.length)}${old}`)
    )
  );
  return [...new Set([...names, ...earlier.map(([old]) => old)])];
}

/** Parameters that hold several of the `named` layers, with their number. */
function fusedParameters(
  renamed: ReadonlyMap<string, string>,
  named: ReadonlySet<string>,
): Map<string, number> {
  const fused = new Map<string, number>();
  for (const parameter of new Set(renamed.values())) {
    const parts = [...renamed.keys()].filter((old) =>
      renamed.get(old) === parameter
    );
    const missing = parts.filter((old) => !named.has(old));
    if (missing.length === parts.length || parts.length === 1) continue;
    if (missing.length > 0) {
      throw new InputError(
        `Cannot inject LoRA into ${
          listed(parts.filter((old) => named.has(old)))
        } without ${listed(missing)}: the experts hold both in ${
          quoted(parameter)
        }, name both or none`,
      );
    }
    fused.set(parameter, parts.length);
  }
  return fused;
}
