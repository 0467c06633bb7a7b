/**
 * Fuzzes the readers for as long as one likes:
 * `deno run -P tests/fuzz/fuzz.ts [name] [count] [seed]`; without a name all
 * of them. Files that were no answer are kept in a folder that is named at the end.
 *
 * @module
 */

import { hunt } from "./hunt.ts";
import { SUBJECTS } from "./subjects.ts";

async function main(args: readonly string[]): Promise<void> {
  const [name, count = "2000", seed = "1"] = args;
  const kept = Deno.makeTempDirSync();
  const named = Object.entries(SUBJECTS)
    .filter(([each]) => !name || name === "all" || each === name);
  for (const [each, subject] of named) {
    const start = performance.now();
    const findings = await hunt(subject, {
      count: Number(count),
      seed: Number(seed),
    });
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`${each}: ${findings.length} findings in ${seconds} s`);
    for (const [index, { what, content }] of findings.entries()) {
      const path = `${kept}/${index}-${subject.file}`;
      Deno.writeFileSync(path, content);
      console.log(`  ${what}\n    ${path}`);
    }
  }
}

if (import.meta.main) main(Deno.args);
