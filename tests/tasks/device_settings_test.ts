/**
 * Settings that a CPU and a CUDA device follow differently.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { parseTrainArguments } from "../../lib/arguments/train_arguments.ts";
import { suitedTo } from "../../tasks/device_settings.ts";
import { complaint } from "../formats/temporary.ts";

const CPU = { type: "cpu", index: 0 } as const;
const CUDA = { type: "cuda", index: 1 } as const;

Deno.test("suitedTo() takes tf32 and full_determinism on a CPU and refuses them on a CUDA device", () => {
  const parsed = parseTrainArguments(["--tf32", "true", "--full_determinism"]);
  assert(!("help" in parsed));
  assert.equal(suitedTo(CPU, parsed), parsed.training);
  assert.equal(
    complaint(() => suitedTo(CUDA, parsed)),
    "Cannot use --tf32 on cuda:1: not supported yet, float32 products are " +
      "computed in full\nCannot use --full_determinism on cuda:1: not " +
      "supported yet, some of the device's sums have no fixed order",
  );
});

Deno.test("suitedTo() leaves fp16 to a CUDA device", () => {
  const parsed = parseTrainArguments(["--fp16"]);
  assert(!("help" in parsed));
  assert.equal(suitedTo(CUDA, parsed).fp16, true);
  assert.equal(suitedTo(CPU, parsed).fp16, false);
});
