/**
 * How far numbers are from those they should be.
 *
 * @module
 */

import { strict as assert } from "node:assert";

/** The largest difference between `actual` and `expected`, relative to the largest of these. */
function relativeError(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
): number {
  assert.equal(actual.length, expected.length);
  let [scale, worst] = [0, 0];
  for (let index = 0; index < expected.length; index++) {
    const [is, shouldBe] = [actual[index]!, expected[index]!];
    assert(Number.isFinite(is), `${is} at ${index}`);
    scale = Math.max(scale, Math.abs(shouldBe));
    worst = Math.max(worst, Math.abs(is - shouldBe));
  }
  return scale === 0 ? worst : worst / scale;
}

/** Fails when `actual` is further than `limit`, relatively, from `expected`. */
export function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  options: { readonly limit: number; readonly what?: string },
): void {
  const error = relativeError(actual, expected);
  const { limit, what = "numbers" } = options;
  assert(
    error <= limit,
    `${what} differ by ${error}, at most ${limit} is fine`,
  );
}
