/**
 * A `LIBTORCH` that will not do is told where another libtorch is taken.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { ensureLibtorch } from "../../mod.ts";
import { fetchedFolder } from "../../ffi/search.ts";
import { inFolder } from "../training/tiny_run.ts";

Deno.test("openLibtorch warns that LIBTORCH has none, and goes on with another", async () => {
  const { folder } = await ensureLibtorch();
  const name = fetchedFolder()!.split("/").at(-1);
  await inFolder(async (cache) => {
    // a cache with this libtorch in it, so that nothing is fetched
    Deno.mkdirSync(`${cache}/${name}/torch`, { recursive: true });
    Deno.symlinkSync(folder, `${cache}/${name}/torch/lib`);
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "-P=setup", "--no-prompt", "tasks/setup.ts"],
      env: { LIBTORCH: "no-such-folder", LORIKEET_CACHE: cache },
    }).output();
    const told = new TextDecoder().decode(stderr);
    assert.equal(code, 0, told);
    assert.match(
      told,
      /Warning: LIBTORCH=no-such-folder has no libtorch_cpu\.\w+; using \//,
    );
  });
});

Deno.test("setup says how it is used when asked or given a flag that it does not have, and fetches nothing then", async () => {
  await inFolder(async (cache) => {
    const setup = async (flag: string): Promise<[number, string]> => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-q", "-P=setup", "--no-prompt", "tasks/setup.ts", flag],
        env: { LIBTORCH: "", LORIKEET_CACHE: cache, PATH: cache },
      }).output();
      const decoder = new TextDecoder();
      return [code, decoder.decode(stdout) + decoder.decode(stderr)];
    };
    const [asked, help] = await setup("--help");
    assert.equal(asked, 0);
    assert.match(help, /^usage: deno task setup\n/);
    const [refused, told] = await setup("--cuda");
    assert.equal(refused, 2);
    assert.match(
      told,
      /^unrecognized arguments: --cuda\nusage: deno task setup/,
    );
    assert.deepEqual([...Deno.readDirSync(cache)], []);
  });
});
