/**
 * Some hundred damaged files for each reader; `fuzz.ts` reads as many as one likes.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { hunt } from "./hunt.ts";
import { SUBJECTS } from "./subjects.ts";

const COUNT = 200;

for (const [name, subject] of Object.entries(SUBJECTS)) {
  Deno.test(`${COUNT} damaged files of the kind "${name}" are read or refused with an InputError`, async () => {
    const findings = await hunt(subject, { count: COUNT, seed: 1 });
    assert.deepEqual(findings.map(({ what }) => what), []);
  });
}
