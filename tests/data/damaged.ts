/**
 * Damage to files of rows: bytes and stretches changed, lost, doubled or put in,
 * the same for the same random numbers.
 *
 * @module
 */

const TOKENS = [
  ...['"', "{", "}", "[", "]", ",", "\\ud800", "\u001b", "1e999"],
  ...["null", '"role"', '"user"', '"assistant"', "\n", '""'],
];

/** `bytes` with one to three places damaged. */
export function damaged(
  bytes: Uint8Array,
  random: Iterator<number>,
): Uint8Array<ArrayBuffer> {
  const below = (limit: number): number =>
    Math.floor(random.next().value! * limit);
  let result = [...bytes];
  for (let count = 1 + below(3); count > 0; count--) {
    const at = below(result.length + 1);
    const length = 1 + below(12);
    const put = [...new TextEncoder().encode(TOKENS[below(TOKENS.length)])];
    result = [
      () => result.with(Math.min(at, result.length - 1), below(256)),
      () => result.toSpliced(at, length),
      () => result.toSpliced(at, 0, ...result.slice(at, at + length)),
      () => result.toSpliced(at, 0, ...put),
      () => result.slice(0, Math.max(1, at)),
    ][below(5)]!();
    if (result.length === 0) return new Uint8Array();
  }
  return Uint8Array.from(result);
}
