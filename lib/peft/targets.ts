/**
 * Which modules an adapter is added to: peft's rules on module names, with a
 * report of the names that match nothing. Needs names only, no weights.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { type LoraConfig, rankAt } from "./lora_config.ts";
import { NamePattern } from "./name_pattern.ts";
import { targetParameters, withParameterTargets } from "./parameter_targets.ts";
import { isInSavedModule } from "./saved_modules.ts";
import {
  isAllLinear,
  lastNames,
  listed,
  nameRule,
  type Rule,
  suffixes,
} from "./target_names.ts";
import type { TargetTree } from "./target_tree.ts";

/** An adapter may have at most this many times the parameters of the layer it adapts. */
const MOST_TIMES = 16;

/** The result of matching. */
export interface TargetReport {
  /** Paths of the modules to adapt, in the order of the tree. */
  readonly targeted: readonly string[];
  /** Paths of the parameters to adapt, in the order of the tree. */
  readonly parameters: readonly string[];
  /** Names of the configuration that match no module and no parameter. */
  readonly unmatched: readonly string[];
  /** Last parts of the names of the adapted layers, such as `o_proj`, and parameters. */
  readonly trainedNames: readonly string[];
  /** Last parts of the names of the other linear layers and parameters. */
  readonly untrainedNames: readonly string[];
}

/**
 * Applies `target_modules`, `exclude_modules`, `layers_to_transform` and
 * `layers_pattern`, and `target_parameters`, as peft does.
 *
 * @throws {InputError} when nothing matches, naming what exists; when a match is
 *   neither a linear layer nor a parameter of experts; when such parameters go with
 *   dropout; and when a rank is far larger than the widths of a layer.
 *
 * @example
 * ```ts
 * import { loraConfig, matchTargets } from "@lorikeet/lorikeet/peft";
 *
 * const tree = {
 *   allPaths: ["model", "model.q_proj", "model.k_proj"],
 *   linearPaths: ["model.q_proj", "model.k_proj"],
 *   outputPath: "lm_head",
 * };
 * const config = loraConfig({ target_modules: ["q_proj"] });
 * const { targeted } = matchTargets(tree, config);
 * if (targeted.join() !== "model.q_proj") throw new Error("unexpected targets");
 * ```
 */
export function matchTargets(
  tree: TargetTree,
  given: LoraConfig,
): TargetReport {
  const config = withParameterTargets(tree, given);
  const isTargeted = targetRule(tree, config);
  const targeted = tree.allPaths.filter(isTargeted);
  const parameters = matchedParameters(tree, config);
  if (targeted.length + parameters.length === 0) throw noMatch(tree, config);
  const fitting = new Set([
    ...tree.linearPaths,
    ...tree.embeddingPaths ?? [],
  ]);
  const odd = targeted.find((path) => !fitting.has(path));
  if (odd !== undefined) {
    throw new InputError(
      `Cannot inject LoRA into "${odd}": it is not a linear layer, target only ${
        lastNames(tree.linearPaths).join(", ")
      }`,
    );
  }
  checkRanks([...targeted, ...parameters], { tree, config });
  const chosen = new Set([...targeted, ...parameters]);
  const trainedNames = lastNames([...chosen]);
  const others = [...tree.linearPaths, ...tree.parameters?.keys() ?? []]
    .filter((path) => !chosen.has(path));
  return {
    targeted,
    parameters,
    unmatched: unmatchedNames(tree, config),
    trainedNames,
    untrainedNames: lastNames(others).filter((name) =>
      !trainedNames.includes(name)
    ),
  };
}

/** Parameters by the ends of their paths; layer numbers and exclusions do not apply to them. */
function matchedParameters(tree: TargetTree, config: LoraConfig): string[] {
  const wanted = targetParameters(config);
  const known = [...tree.parameters?.keys() ?? []];
  const found = known.filter((path) =>
    suffixes(path).some((suffix) => wanted.includes(suffix))
  );
  if (found.length === 0 || config.lora_dropout === 0) return found;
  throw new InputError(
    `Cannot inject LoRA into ${
      quoted(found[0])
    } with lora_dropout ${config.lora_dropout}: ` +
      "experts and routers are adapted as parameters, which have no input to drop, " +
      `set lora_dropout to 0 or name only ${
        lastNames(
          tree.linearPaths.filter((path) =>
            path !== tree.outputPath && !isParameterName(tree, path)
          ),
        ).join(", ")
      } as target_modules`,
  );
}

/** Whether peft takes the last name of `path` for a parameter. */
function isParameterName(tree: TargetTree, path: string): boolean {
  return tree.renamed?.has(path.split(".").at(-1)!) ?? false;
}

function targetRule(tree: TargetTree, config: LoraConfig): Rule {
  const { target_modules, exclude_modules } = config;
  const linear = new Set(tree.linearPaths);
  const isNamed: Rule = isAllLinear(target_modules)
    ? (path) => path !== tree.outputPath && linear.has(path)
    : nameRule("target_modules", target_modules);
  const isExcluded: Rule = exclude_modules === null
    ? () => false
    : nameRule("exclude_modules", exclude_modules);
  const isInLayers: Rule = isAllLinear(target_modules)
    ? () => true
    : layerRule(config);
  return (path) =>
    path !== "" && !isExcluded(path) && !isInSavedModule(config, path) &&
    isNamed(path) && isInLayers(path);
}

function layerRule(config: LoraConfig): Rule {
  const { layers_to_transform: wanted, layers_pattern: pattern } = config;
  if (wanted === null || isEmpty(wanted)) return () => true;
  if (typeof config.target_modules === "string") {
    throw new InputError(
      "Cannot use layers_to_transform: it goes with a list of target_modules, not with an expression",
    );
  }
  const numbers = new Set([wanted].flat());
  const whole = new Set(config.target_modules);
  const indexOf = layerIndex(pattern);
  return (path) => {
    // As in peft, a whole path in the list is not subject to layer numbers.
    if (whole.has(path)) return true;
    const index = indexOf(path);
    return index !== undefined && numbers.has(index);
  };
}

/** The number of the layer that a path belongs to, by the lists in `layers_pattern`. */
function layerIndex(
  pattern: LoraConfig["layers_pattern"],
): (path: string) => number | undefined {
  if (pattern === null || isEmpty(pattern)) {
    return (path) => {
      const index = /^.*?\.[^.]*\.(\d+)\./.exec(path)?.[1];
      return index === undefined ? undefined : Number(index);
    };
  }
  const patterns = [pattern].flat().map((name) =>
    new NamePattern("layers_pattern", name)
  );
  return (path) =>
    patterns.map((each) => each.listIndex(path))
      .find((index) => index !== undefined);
}

function isEmpty(value: number | string | readonly unknown[]): boolean {
  return typeof value !== "number" && value.length === 0;
}

function unmatchedNames(tree: TargetTree, config: LoraConfig): string[] {
  const { target_modules } = config;
  if (typeof target_modules === "string") return [];
  const parameters = [...tree.parameters?.keys() ?? []];
  const there = new Set([...tree.allPaths, ...parameters].flatMap(suffixes));
  return [...target_modules, ...targetParameters(config)]
    .filter((name) => !there.has(name));
}

/**
 * peft takes any rank. A rank above the smaller width of a layer adds nothing but
 * memory; the ranks refused here must be mistakes.
 */
function checkRanks(
  targeted: readonly string[],
  plan: { tree: TargetTree; config: LoraConfig },
): void {
  for (const path of targeted) {
    const stack = plan.tree.parameters?.get(path);
    const widths = plan.tree.widths?.get(path) ??
      (stack && [stack.inFeatures, stack.outFeatures]);
    if (widths === undefined) continue;
    const [input = 0, output = 0] = widths;
    const rank = rankAt(plan.config, path);
    const most = Math.floor(MOST_TIMES * input * output / (input + output));
    if (rank <= Math.max(most, 1)) continue;
    throw new InputError(
      `Cannot inject LoRA of rank ${rank} into ${
        quoted(path)
      }: the layer maps ` +
        `${input} numbers to ${output}, and the adapter's matrices would hold ` +
        `more than ${MOST_TIMES} times the layer's own numbers, expected a rank ` +
        `of at most ${most}`,
    );
  }
}

function noMatch(tree: TargetTree, config: LoraConfig): InputError {
  const { target_modules: wanted } = config;
  const named = listed([wanted, targetParameters(config)].flat());
  const limits = [
    config.exclude_modules === null ? "" : " that exclude_modules leaves",
    config.layers_to_transform === null
      ? ""
      : ` in layers_to_transform ${JSON.stringify(config.layers_to_transform)}`,
  ].join("");
  return new InputError(
    `Cannot inject LoRA: target modules ${
      named || "[]"
    } not found in the base model` +
      `${limits && `, at least none${limits}`}, it has ${
        lastNames([...tree.linearPaths, ...tree.parameters?.keys() ?? []])
          .join(", ")
      }`,
  );
}

/**
 * The report as sentences for a user: what is trained, and which names match
 * nothing.
 *
 * @example
 * ```ts
 * import { describeTargets } from "@lorikeet/lorikeet/peft";
 *
 * const [line] = describeTargets({
 *   targeted: ["model.q_proj"],
 *   parameters: [],
 *   trainedNames: ["q_proj"],
 *   untrainedNames: ["k_proj"],
 *   unmatched: [],
 * });
 * if (line !== "LoRA on 1 modules: q_proj (not trained: k_proj)") {
 *   throw new Error(line);
 * }
 * ```
 */
export function describeTargets(report: TargetReport): string[] {
  const lines = [
    `LoRA on ${report.targeted.length} modules${
      report.parameters.length > 0
        ? ` and ${report.parameters.length} parameters`
        : ""
    }: ${report.trainedNames.join(", ")}` +
    (report.untrainedNames.length > 0
      ? ` (not trained: ${report.untrainedNames.join(", ")})`
      : ""),
  ];
  if (report.unmatched.length > 0) {
    lines.unshift(
      `Warning: target_modules ${
        listed(report.unmatched)
      } match no module of this model and train nothing${hint(report)}`,
    );
  }
  return lines;
}

function hint(report: TargetReport): string {
  const attention = ["q_proj", "k_proj", "v_proj"];
  return report.unmatched.includes("W_pack") &&
      attention.every((name) => report.untrainedNames.includes(name))
    ? `; "W_pack" is Baichuan's fused attention, this model has ${
      attention.join(", ")
    }`
    : "";
}
