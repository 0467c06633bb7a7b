/**
 * How the names in an adapter's configuration match paths of modules.
 *
 * @module
 */

import { quoted } from "../input_error.ts";
import type { LoraConfig } from "./lora_config.ts";
import { NamePattern } from "./name_pattern.ts";

/** Whether a path is meant. */
export type Rule = (path: string) => boolean;

/** Whether `targets` is peft's word for all linear layers. */
export function isAllLinear(targets: LoraConfig["target_modules"]): boolean {
  return typeof targets === "string" && targets.toLowerCase() === "all-linear";
}

/** A string is a regular expression for the whole path; a list holds ends of paths. */
export function nameRule(
  field: string,
  wanted: string | readonly string[],
): Rule {
  if (typeof wanted === "string") {
    const pattern = new NamePattern(field, wanted);
    return (path) => pattern.fullMatch(path);
  }
  const names = new Set(wanted);
  return (path) => suffixes(path).some((suffix) => names.has(suffix));
}

/** `a.b.c`, `b.c` and `c`. */
export function suffixes(path: string): string[] {
  const parts = path.split(".");
  return parts.map((_, index) => parts.slice(index).join("."));
}

/** The last name of a path; of a parameter `weight`, that of its module. */
export function lastName(path: string): string {
  return path.replace(/(?<=.)\.weight$/, "").split(".").at(-1)!;
}

/** The last names of `paths`, each once. */
export function lastNames(paths: readonly string[]): string[] {
  return [...new Set(paths.map(lastName))];
}

/** Names out of a file, which may be many and of any length. */
export function listed(names: readonly string[]): string {
  const more = names.length > MOST_NAMES
    ? ` and ${names.length - MOST_NAMES} more`
    : "";
  return names.slice(0, MOST_NAMES).map((name) => quoted(name)).join(", ") +
    more;
}

const MOST_NAMES = 10;
