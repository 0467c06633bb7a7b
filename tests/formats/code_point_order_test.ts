/**
 * compareCodePoints against the order of UTF-8 bytes.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { compareCodePoints } from "../../lib/formats/code_point_order.ts";

Deno.test("compareCodePoints orders as UTF-8 bytes do", () => {
  const sorted = ["", "A", "a", "a.1", "a.10", "a.2", "é", "\ue000", "\uffee"];
  const all = [...sorted, "\u{1f99c}", "\u{1f99c}a", "\u{f0000}"];
  assert.deepEqual(all.toReversed().sort(compareCodePoints), all);
  assert.equal(compareCodePoints("same", "same"), 0);
});
