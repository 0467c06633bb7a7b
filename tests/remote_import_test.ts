/**
 * The README's script, from a folder of its own, against the project served on
 * loopback: no import map, no project around it.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { libraries } from "../ffi/mod.ts";

/** The script that the README shows. */
function readmeScript(): string {
  const fence = /```ts ignore\n([\s\S]*?)```/.exec(
    Deno.readTextFileSync("README.md"),
  );
  assert.ok(fence, "the README shows no script");
  return fence[1]!;
}

/** Serves the project's files; nothing outside the root is reached. */
function serveProject(): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const path = new URL(request.url).pathname.replace(/^\/lorikeet\//, "");
      if (path.includes("..")) return new Response(null, { status: 403 });
      try {
        return new Response(await Deno.readFile(path), {
          headers: { "content-type": "application/typescript" },
        });
      } catch {
        return new Response(null, { status: 404 });
      }
    },
  );
}

async function runScript(folder: string, port: number): Promise<string> {
  const script = readmeScript().replace(
    "http://HOST",
    `http://127.0.0.1:${port}`,
  )
    .replace("max_steps: 20", "max_steps: 2");
  Deno.writeTextFileSync(`${folder}/script.ts`, script);
  for (const name of ["models", "dataset"]) {
    Deno.symlinkSync(Deno.realPathSync(name), `${folder}/${name}`);
  }
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--allow-import=127.0.0.1",
      "--allow-read",
      "--allow-write",
      "--allow-env",
      "--allow-ffi",
      "script.ts",
    ],
    cwd: folder,
    env: { LIBTORCH: libraries().folder, NO_COLOR: "1" },
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test("mod.ts loads from a URL, and the README's script trains with it", async () => {
  const script = readmeScript();
  assert.ok(script.trim().split("\n").length <= 35);
  const folder = Deno.makeTempDirSync();
  const server = serveProject();
  try {
    const printed = await runScript(folder, server.addr.port);
    assert.match(printed, /trainingLoss/);
    for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
      assert.ok(Deno.statSync(`${folder}/output/${name}`).size > 0, name);
    }
  } finally {
    await server.shutdown();
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("mod.ts loads without any permission", async () => {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "mod.ts"],
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
});
