/**
 * Which modules an adapter is added to: peft's rules on module names, with a
 * report of the names that match nothing. Needs names only, no weights.
 *
 * @module
 */

import { InputError, quoted } from "../input_error.ts";
import { type LoraConfig, rankAt } from "./lora_config.ts";
import { NamePattern } from "./name_pattern.ts";

/** An adapter may have at most this many times the parameters of the layer it adapts. */
const MOST_TIMES = 16;

/** The result of matching. */
export interface TargetReport {
  /** Paths of the modules to adapt, in the order of the tree. */
  readonly targeted: readonly string[];
  /** Names of the configuration that match no module. */
  readonly unmatched: readonly string[];
  /** Last parts of the names of the adapted layers, such as `o_proj`. */
  readonly trainedNames: readonly string[];
  /** Last parts of the names of the linear layers that are not adapted. */
  readonly untrainedNames: readonly string[];
}

/** The names in a model that matching needs. */
export interface TargetTree {
  /** Paths of the modules that an adapter can wrap, in the order of the tree. */
  readonly linearPaths: readonly string[];
  /** Paths of all modules. */
  readonly allPaths: readonly string[];
  /** Input and output width by path; where they are not known, ranks are not bounded. */
  readonly widths?: ReadonlyMap<string, readonly [number, number]>;
  /** The layer that computes logits, which `all-linear` leaves out. */
  readonly outputPath: string;
  /** Mixtures of experts, whose parameters peft's `all-linear` adapts too. Default none. */
  readonly mixturePaths?: readonly string[];
}

/**
 * Applies `target_modules`, `exclude_modules`, `layers_to_transform` and
 * `layers_pattern` as peft does.
 *
 * @throws {InputError} when nothing matches, naming what exists; when a match is
 *   not a linear layer; when all linear layers of a mixture of experts are meant; and when a rank is far larger than the widths of a layer.
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
  config: LoraConfig,
): TargetReport {
  checkMixtures(tree, config);
  const isTargeted = targetRule(tree, config);
  const targeted = tree.allPaths.filter(isTargeted);
  const unmatched = unmatchedNames(tree, config);
  if (targeted.length === 0) throw noMatch(tree, config);
  const linear = new Set(tree.linearPaths);
  const odd = targeted.find((path) => !linear.has(path));
  if (odd !== undefined) {
    throw new InputError(
      `Cannot inject LoRA into "${odd}": it is not a linear layer, target only ${
        lastNames(tree.linearPaths).join(", ")
      }`,
    );
  }
  checkRanks(targeted, { tree, config });
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

/** peft adapts experts and routers as parameters, which are no layers that could be wrapped. */
function checkMixtures(tree: TargetTree, config: LoraConfig): void {
  const [first] = tree.mixturePaths ?? [];
  if (first === undefined || !isAllLinear(config.target_modules)) return;
  const linear = new Set(tree.linearPaths);
  const odd = lastNames(tree.allPaths.filter((path) => !linear.has(path)));
  const names = lastNames(
    tree.linearPaths.filter((path) => path !== tree.outputPath),
  ).filter((name) => !odd.includes(name));
  throw new InputError(
    `Cannot inject LoRA into all linear layers: peft would adapt the experts and the router of ${
      quoted(first)
    } too, which is not supported, name ${names.join(", ")} as target_modules`,
  );
}

type Rule = (path: string) => boolean;

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
    path !== "" && !isExcluded(path) && isNamed(path) && isInLayers(path);
}

function isAllLinear(targets: LoraConfig["target_modules"]): boolean {
  return typeof targets === "string" && targets.toLowerCase() === "all-linear";
}

/** A string is a regular expression for the whole path; a list holds ends of paths. */
function nameRule(field: string, wanted: string | readonly string[]): Rule {
  if (typeof wanted === "string") {
    const pattern = new NamePattern(field, wanted);
    return (path) => pattern.fullMatch(path);
  }
  const names = new Set(wanted);
  return (path) => suffixes(path).some((suffix) => names.has(suffix));
}

/** `a.b.c`, `b.c` and `c`. */
function suffixes(path: string): string[] {
  const parts = path.split(".");
  return parts.map((_, index) => parts.slice(index).join("."));
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
  const there = new Set(tree.allPaths.flatMap(suffixes));
  return target_modules.filter((name) => !there.has(name));
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
    const widths = plan.tree.widths?.get(path);
    if (widths === undefined) continue;
    const [input, output] = widths;
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
  const named = listed(typeof wanted === "string" ? [wanted] : wanted);
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
        lastNames(tree.linearPaths).join(", ")
      }`,
  );
}

/** Names out of a file, which may be many and of any length. */
function listed(names: readonly string[]): string {
  const more = names.length > MOST_NAMES
    ? ` and ${names.length - MOST_NAMES} more`
    : "";
  return names.slice(0, MOST_NAMES).map((name) => quoted(name)).join(", ") +
    more;
}

const MOST_NAMES = 10;

function lastNames(paths: readonly string[]): string[] {
  return [...new Set(paths.map((path) => path.split(".").at(-1)!))];
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
