/**
 * Which modules an adapter is injected into: peft's rules on module names, and a
 * report of the names that matched nothing. Needs names only, no weights.
 *
 * @module
 */

import { InputError } from "../input_error.ts";
import type { LoraConfig } from "./lora_config.ts";

/** What the rules gave. */
export interface TargetReport {
  /** Paths of the modules to adapt, in the order of the tree. */
  readonly targeted: readonly string[];
  /** Names of the configuration that match no module. */
  readonly unmatched: readonly string[];
  /** Last names of the layers that are adapted, such as `o_proj`. */
  readonly trainedNames: readonly string[];
  /** Last names of the linear layers that are left as they are. */
  readonly untrainedNames: readonly string[];
}

/** The tree as far as matching needs it. */
export interface TargetTree {
  /** Paths of the modules that an adapter can wrap, in the order of the tree. */
  readonly linearPaths: readonly string[];
  /** Paths of all modules. */
  readonly allPaths: readonly string[];
  /** The layer that makes logits, which `all-linear` leaves out. */
  readonly outputPath: string;
}

/**
 * Applies `target_modules`, `exclude_modules`, `layers_to_transform` and
 * `layers_pattern` as peft does.
 *
 * @throws {InputError} when nothing matches, naming what exists, and when a match
 *   is no linear layer.
 *
 * @example
 * ```ts
 * import { loraConfig, matchTargets } from "@lorikeet/lorikeet";
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
  config: LoraConfig,
): TargetReport {
  const targeted = tree.allPaths.filter((path) =>
    isTargeted(path, { tree, config })
  );
  const unmatched = unmatchedNames(tree, config);
  if (targeted.length === 0) throw noMatch(tree, config);
  const linear = new Set(tree.linearPaths);
  const odd = targeted.find((path) => !linear.has(path));
  if (odd !== undefined) {
    throw new InputError(
      `Cannot inject LoRA into "${odd}": it is no linear layer, target only ${
        lastNames(tree.linearPaths).join(", ")
      }`,
    );
  }
  const chosen = new Set(targeted);
  const trainedNames = lastNames(targeted);
  return {
    targeted,
    unmatched,
    trainedNames,
    untrainedNames: lastNames(
      tree.linearPaths.filter((path) => !chosen.has(path)),
    ).filter((name) => !trainedNames.includes(name)),
  };
}

interface Rules {
  readonly tree: TargetTree;
  readonly config: LoraConfig;
}

function isTargeted(path: string, rules: Rules): boolean {
  const { tree, config } = rules;
  const { target_modules, exclude_modules } = config;
  if (path === "") return false;
  if (exclude_modules !== null && matches(path, exclude_modules)) return false;
  if (isAllLinear(target_modules)) {
    return path !== tree.outputPath && tree.linearPaths.includes(path);
  }
  return matches(path, target_modules) && inLayers(path, config);
}

function isAllLinear(targets: LoraConfig["target_modules"]): boolean {
  return typeof targets === "string" && targets.toLowerCase() === "all-linear";
}

/** A string is a regular expression for the whole path, a list holds suffixes. */
function matches(path: string, wanted: string | readonly string[]): boolean {
  if (typeof wanted === "string") return fullMatch(wanted).test(path);
  return wanted.some((name) => path === name || path.endsWith(`.${name}`));
}

function fullMatch(pattern: string): RegExp {
  try {
    return new RegExp(`^(?:${pattern})$`);
  } catch (error) {
    throw new InputError(
      `Cannot use target "${pattern}": ${(error as Error).message}`,
      { cause: error },
    );
  }
}

function inLayers(path: string, config: LoraConfig): boolean {
  const { layers_to_transform: wanted, layers_pattern: pattern } = config;
  if (wanted === null || isEmpty(wanted)) return true;
  if (typeof config.target_modules === "string") {
    throw new InputError(
      "Cannot use layers_to_transform: it goes with a list of target_modules, not with an expression",
    );
  }
  // As in peft, a name that is a whole path is meant as it stands.
  if (config.target_modules.includes(path)) return true;
  const names = pattern === null || isEmpty(pattern)
    ? ["[^.]+"]
    : typeof pattern === "string"
    ? [pattern]
    : pattern;
  const index = names
    .map((name) => new RegExp(`\\.${name}\\.(\\d+)\\.`).exec(`.${path}`)?.[1])
    .find((each) => each !== undefined);
  if (index === undefined) return false;
  return typeof wanted === "number"
    ? Number(index) === wanted
    : wanted.includes(Number(index));
}

function isEmpty(value: number | string | readonly unknown[]): boolean {
  return typeof value !== "number" && value.length === 0;
}

function unmatchedNames(tree: TargetTree, config: LoraConfig): string[] {
  const { target_modules } = config;
  if (typeof target_modules === "string") return [];
  return target_modules.filter((name) =>
    !tree.allPaths.some((path) => matches(path, [name]))
  );
}

function noMatch(tree: TargetTree, config: LoraConfig): InputError {
  const { target_modules: wanted } = config;
  const named = typeof wanted === "string"
    ? `"${wanted}"`
    : wanted.map((name) => `"${name}"`).join(", ");
  const limits = [
    config.exclude_modules === null ? "" : " that exclude_modules leaves",
    config.layers_to_transform === null
      ? ""
      : ` in layers_to_transform ${JSON.stringify(config.layers_to_transform)}`,
  ].join("");
  return new InputError(
    `Cannot inject LoRA: target modules ${named} not found in the base model` +
      `${limits && `, at least none${limits}`}, it has ${
        lastNames(tree.linearPaths).join(", ")
      }`,
  );
}

function lastNames(paths: readonly string[]): string[] {
  return [...new Set(paths.map((path) => path.split(".").at(-1)!))];
}

/**
 * The report as sentences for a user: what is trained, and what was asked for in vain.
 *
 * @example
 * ```ts
 * import { describeTargets } from "@lorikeet/lorikeet";
 *
 * const [line] = describeTargets({
 *   targeted: ["model.q_proj"],
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
    `LoRA on ${report.targeted.length} modules: ${
      report.trainedNames.join(", ")
    }` +
    (report.untrainedNames.length > 0
      ? ` (not trained: ${report.untrainedNames.join(", ")})`
      : ""),
  ];
  if (report.unmatched.length > 0) {
    lines.unshift(
      `Warning: target_modules ${
        report.unmatched.map((name) => `"${name}"`).join(", ")
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
