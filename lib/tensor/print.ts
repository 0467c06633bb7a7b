/**
 * The text of a tensor's elements, with brackets for its dimensions. Like
 * PyTorch, it shows 3 elements at either end of each dimension when there are
 * more than 1,000.
 *
 * @module
 */

/**
 * A tensor with at most this many elements is shown whole, as with
 * `torch.set_printoptions`.
 */
const SHOWN_WHOLE = 1000;
/** Items shown at either end of a shortened dimension. */
const EDGE = 3;
const DIGITS = 5;

/** A block of elements to be printed. */
export interface PrintSource {
  /** Sizes of the dimensions. */
  readonly shape: readonly number[];
  /** Elements `start` to `end` of dimension `dim`; the other dimensions are unchanged. */
  slice(dim: number, start: number, end: number): PrintSource & Disposable;
  /** All elements in row-major order. */
  toArray(): Float64Array;
}

/**
 * The elements of `source`, such as `[[1, 2], [3, 4]]`; `...` stands for those
 * that are left out.
 */
export function printElements(source: PrintSource): string {
  const size = source.shape.reduce((product, each) => product * each, 1);
  return size > SHOWN_WHOLE ? shortened(source, 0) : whole(source);
}

function whole({ shape, toArray }: PrintSource): string {
  return nested([...toArray()].map(number), shape);
}

/** Puts `texts` into brackets; `shape` says how many belong together. */
function nested(texts: readonly string[], shape: readonly number[]): string {
  const [count, ...inner] = shape;
  if (count === undefined) return texts[0] ?? "";
  const each = texts.length / Math.max(count, 1);
  const items = Array.from(
    { length: count },
    (_, index) => nested(texts.slice(index * each, (index + 1) * each), inner),
  );
  return `[${items.join(", ")}]`;
}

/** Cuts dimension `dim` and those after it down to their two ends. */
function shortened(source: PrintSource, dim: number): string {
  const { shape } = source;
  const count = shape[dim];
  if (count === undefined) return number(source.toArray()[0]!);
  const show = (index: number): string => {
    using item = source.slice(dim, index, index + 1);
    return shortened(item, dim + 1);
  };
  const range = (from: number, to: number): string[] =>
    Array.from({ length: to - from }, (_, index) => show(from + index));
  const items = count <= 2 * EDGE
    ? range(0, count)
    : [...range(0, EDGE), "...", ...range(count - EDGE, count)];
  return `[${items.join(", ")}]`;
}

/** A number with at most five significant digits; whole numbers in full. */
function number(value: number): string {
  if (Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(DIGITS)));
}
