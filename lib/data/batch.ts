/**
 * The input of training: features, and batches of them laid out flat. A batch
 * contains the position of each token in its row, which tokens see each other,
 * and which labels are predicted from where. Typed arrays only, no tensors.
 *
 * @module
 */

/** Label of a position that is not trained, as in PyTorch's cross entropy. */
export const IGNORED_LABEL: number = -100;

/** One row for training. */
export interface Feature {
  /** Token ids of prompt and answer. */
  readonly input_ids: readonly number[];
  /**
   * The label of each position: its id where it is trained, -100 where not; as
   * long as `input_ids`.
   */
  readonly labels: readonly number[];
}

/**
 * Consecutive tokens of a batch. Each token sees the tokens of its own segment up
 * to itself, and all tokens of the segments above.
 */
export interface Segment {
  /** Index of the first token in the flat batch. */
  readonly start: number;
  /** Number of tokens. */
  readonly length: number;
  /**
   * Index of the segment that these tokens continue, or `null` at the beginning
   * of a row.
   */
  readonly parent: number | null;
}

/** What is predicted, as pairs; labels are already shifted by one. */
export interface Targets {
  /**
   * Flat indices of the tokens from which a label is predicted. One token may
   * predict several labels.
   */
  readonly rows: BigInt64Array;
  /** The label: the token that follows. */
  readonly labels: BigInt64Array;
}

/** The positions of a batch's tokens, and which of them see each other. */
export interface Geometry {
  /** Position of each token in its own row, from 0. */
  readonly positions: Int32Array;
  /** The tokens' segments, in the order of the flat batch, parents first. */
  readonly segments: readonly Segment[];
}

/** A batch of rows. */
export interface Batch extends Geometry {
  /** Token ids in one flat array, padding included: `[tokens]`. */
  readonly inputIds: BigInt64Array;
  /** The predictions that are trained; their number is that of the trained tokens. */
  readonly targets: Targets;
  /** Number of tokens that are not padding. */
  readonly tokens: number;
}

/** Rows padded to one length, one after the other. */
export interface PaddedRows {
  /** Token ids, `[rows, length]`, row by row. */
  readonly inputIds: BigInt64Array;
  /** Labels of the same shape, -100 where not trained. */
  readonly labels: BigInt64Array;
  /** Number of rows. */
  readonly rows: number;
  /** Number of tokens that are not padding. */
  readonly tokens: number;
}

/** The batch of rows that have one length: each row is a segment. */
export function paddedBatch(padded: PaddedRows): Batch {
  const { inputIds, labels, rows, tokens } = padded;
  const length = inputIds.length / rows;
  const trained: number[] = [];
  for (let at = 0; at < labels.length; at++) {
    // no token comes before the first one of a row, so nothing predicts it
    if (at % length > 0 && labels[at] !== BigInt(IGNORED_LABEL)) {
      trained.push(at);
    }
  }
  return {
    ...rectangle(rows, length),
    inputIds,
    targets: {
      rows: BigInt64Array.from(trained, (at) => BigInt(at - 1)),
      labels: BigInt64Array.from(trained, (at) => labels[at]!),
    },
    tokens,
  };
}

/** The geometry of `rows` sequences of `length` tokens whose positions start at `first`. */
export function rectangle(
  rows: number,
  length: number,
  first = 0,
): Geometry {
  return {
    positions: Int32Array.from(
      { length: rows * length },
      (_, at) => first + at % length,
    ),
    segments: Array.from(
      { length: rows },
      (_, row) => ({ start: row * length, length, parent: null }),
    ),
  };
}

/**
 * Makes sure that a batch can be made of `features`.
 *
 * @throws {RangeError} when there are none, or one does not have as many labels as
 *   ids.
 */
export function checkFeatures(features: readonly Feature[]): void {
  if (features.length === 0) {
    throw new RangeError("Cannot collate a batch: it has no rows");
  }
  for (const { input_ids, labels } of features) {
    if (input_ids.length !== labels.length) {
      throw new RangeError(
        `Cannot collate a row: it has ${labels.length} labels for ${input_ids.length} ids, one for each is needed`,
      );
    }
  }
}

/** Number of trained labels of a feature; the first position is never trained. */
export function trainedTokens({ labels }: Feature): number {
  let count = 0;
  for (let at = 1; at < labels.length; at++) {
    if (labels[at] !== IGNORED_LABEL) count++;
  }
  return count;
}
