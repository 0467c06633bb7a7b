/**
 * `deno task offline`: what it packs runs by itself.
 *
 * @module
 */

import { strict as assert } from "node:assert";

async function run(command: string, args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args,
    env: { NO_COLOR: "1" },
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test("deno task offline packs Deno and every package, and its run.sh runs a task", async () => {
  const folder = "offline-test";
  try {
    const said = await run(Deno.execPath(), [
      "task",
      "-q",
      "offline",
      "--output_dir",
      folder,
    ]);
    const megabytes = Number(/Packed (\d+) MB/.exec(said)?.[1]);
    assert.ok(megabytes > 0 && megabytes < 64, said);
    const help = await run("bash", [`${folder}/run.sh`, "chat", "--help"]);
    assert.match(help, /--max_new_tokens/);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
