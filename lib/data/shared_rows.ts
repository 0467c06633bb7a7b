/**
 * Batches without padding: rows lie end to end, and rows that begin alike share
 * the tokens of their common prefix.
 *
 * @module
 */

import {
  type Batch,
  checkFeatures,
  type Feature,
  IGNORED_LABEL,
  type Segment,
} from "./batch.ts";

/**
 * A prefix is shared when that saves at least this share of the tokens that
 * continue it: each of those must look at the prefix separately, which costs about
 * as much.
 */
const LEAST_SAVED = 1 / 8;

/** The tokens `start … end-1` of some rows, which have all before them in common. */
interface Group {
  readonly rows: readonly number[];
  readonly start: number;
  /** Index of the segment that they continue. */
  readonly parent: number | null;
}

/**
 * A batch of `features` with each token of a common prefix once. Nothing else
 * changes: the predictions that are trained, and what they see, are those of the
 * padded rows.
 *
 * @example
 * ```ts
 * import { sharedRows } from "@lorikeet/lorikeet/data";
 * import { strict as assert } from "node:assert";
 *
 * const labels = [-100, -100, -100, -100, 5];
 * const batch = sharedRows([
 *   { input_ids: [1, 7, 8, 9, 5], labels },
 *   { input_ids: [1, 7, 8, 6, 5], labels },
 * ]);
 * assert.deepEqual([...batch.inputIds], [1n, 7n, 8n, 6n, 5n, 9n, 5n]);
 * assert.deepEqual([...batch.positions], [0, 1, 2, 3, 4, 3, 4]);
 * ```
 *
 * @throws {RangeError} when there are no features, or a feature does not have as
 *   many labels as ids.
 */
export function sharedRows(features: readonly Feature[]): Batch {
  checkFeatures(features);
  const builder = new TreeBuilder(features);
  const rows = features.map((_, row) => row)
    .toSorted((a, b) => compareIds(features[a]!, features[b]!));
  builder.add({ rows, start: 0, parent: null });
  return builder.batch();
}

/** Lays out the tree of a batch's rows, parents first. */
class TreeBuilder {
  readonly #features: readonly Feature[];
  readonly #ids: number[] = [];
  readonly #positions: number[] = [];
  readonly #segments: Segment[] = [];
  readonly #targets: { row: number; label: number }[] = [];

  constructor(features: readonly Feature[]) {
    this.#features = features;
  }

  /** Adds the segments of `group`, whose rows are sorted by their ids. */
  add(group: Group): void {
    const { rows, start } = group;
    const end = this.#commonLength(rows);
    if (rows.length === 1 || this.#pays(group, end)) {
      const parent = end > start
        ? this.#addSegment({ ...group, end })
        : group.parent;
      const longer = rows.filter((row) => this.#idsOf(row).length > end);
      for (const each of this.#divided(longer, end)) {
        this.add({ rows: each, start: end, parent });
      }
      for (const row of rows) {
        if (this.#idsOf(row).length === end) this.#addTargets(row, parent);
      }
    } else {
      for (const each of this.#divided(rows, end)) {
        this.add({ ...group, rows: each });
      }
    }
  }

  /** The batch of all that was added. */
  batch(): Batch {
    const targets = this.#targets;
    return {
      inputIds: BigInt64Array.from(this.#ids, BigInt),
      positions: Int32Array.from(this.#positions),
      segments: this.#segments,
      targets: {
        rows: BigInt64Array.from(targets, ({ row }) => BigInt(row)),
        labels: BigInt64Array.from(targets, ({ label }) => BigInt(label)),
      },
      tokens: sumOf(this.#features, ({ input_ids }) => input_ids.length),
    };
  }

  #idsOf(row: number): readonly number[] {
    return this.#features[row]!.input_ids;
  }

  /** Number of ids that all of `rows` begin with: the first and the last differ most. */
  #commonLength(rows: readonly number[]): number {
    const [first, last] = [this.#idsOf(rows[0]!), this.#idsOf(rows.at(-1)!)];
    const differs = first.findIndex((id, at) => id !== last[at]);
    return differs < 0 ? first.length : differs;
  }

  #pays({ rows, start }: Group, end: number): boolean {
    const saved = (end - start) * (rows.length - 1);
    const below = sumOf(rows, (row) => this.#idsOf(row).length - end);
    return saved >= LEAST_SAVED * below;
  }

  /**
   * `rows` by their token at `at`. Those with much left come first, so that rows of
   * one length lie side by side: attention takes them together.
   */
  #divided(rows: readonly number[], at: number): readonly number[][] {
    const groups = Map.groupBy(rows, (row) => this.#idsOf(row)[at]);
    return [...groups.values()].toSorted((a, b) =>
      this.#idsOf(b[0]!).length - this.#idsOf(a[0]!).length
    );
  }

  #addSegment(
    { rows, start, end, parent }: Group & { readonly end: number },
  ): number {
    const own = this.#idsOf(rows[0]!).slice(start, end);
    this.#segments.push({
      start: this.#ids.length,
      length: own.length,
      parent,
    });
    this.#ids.push(...own);
    this.#positions.push(...own.map((_, at) => start + at));
    return this.#segments.length - 1;
  }

  /** Adds the predictions of a row, whose last segment is `leaf`. */
  #addTargets(row: number, leaf: number | null): void {
    const { labels } = this.#features[row]!;
    // flat index of each token of the row
    const flat: number[] = [];
    for (let at = leaf; at !== null; at = this.#segments[at]!.parent) {
      const { start, length } = this.#segments[at]!;
      flat.unshift(...Array.from({ length }, (_, index) => start + index));
    }
    labels.forEach((label, at) => {
      if (at > 0 && label !== IGNORED_LABEL) {
        this.#targets.push({ row: flat[at - 1]!, label });
      }
    });
  }
}

/** Orders rows by their ids, so that rows with a common prefix are neighbours. */
function compareIds(a: Feature, b: Feature): number {
  const [first, second] = [a.input_ids, b.input_ids];
  for (let at = 0; at < Math.min(first.length, second.length); at++) {
    if (first[at] !== second[at]) return first[at]! - second[at]!;
  }
  return first.length - second.length;
}

function sumOf<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}
