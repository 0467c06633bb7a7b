/**
 * "Did you mean": the known name nearest to a mistyped one.
 *
 * @module
 */
import { distance } from "npm:fastest-levenshtein@1.0.16";

/**
 * The name in `known` that needs the fewest single-letter edits to become
 * `name`, or undefined where even that one differs in more than a third.
 */
export function closestName(
  name: string,
  known: Iterable<string>,
): string | undefined {
  let best: string | undefined;
  let fewest = Math.floor(name.length / 3) + 1;
  for (const candidate of known) {
    const edits = distance(name, candidate);
    if (edits < fewest) [best, fewest] = [candidate, edits];
  }
  return best;
}
