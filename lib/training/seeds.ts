/**
 * Seeds made of several numbers, so that a random draw is a function of where in
 * the run it happens and of nothing before it.
 *
 * @module
 */

const MASK = (1n << 64n) - 1n;

/** One 64-bit seed of all `parts`: SplitMix64 (Steele et al., 2014) over them. */
export function mixSeed(parts: readonly number[]): bigint {
  return parts.reduce((state, part) => {
    let mixed = (state + BigInt(part) + 0x9e3779b97f4a7c15n) & MASK;
    mixed = ((mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
    mixed = ((mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn) & MASK;
    return mixed ^ (mixed >> 31n);
  }, 0n);
}
