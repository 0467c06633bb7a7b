/**
 * The order in which libtorch is looked for. Each test works in folders of its own
 * and puts the environment back.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  cacheFolder,
  fetchedFolder,
  libraryNames,
  type Place,
  searchLibtorch,
} from "../../ffi/search.ts";

/** Runs `work` in an empty folder with `variables` set, `@` standing for the folder. */
function inFolder(
  variables: Readonly<Record<string, string>>,
  work: (folder: string) => void,
): void {
  const folder = Deno.makeTempDirSync();
  const before = new Map(
    Object.keys(variables).map((name) => [name, Deno.env.get(name)]),
  );
  try {
    for (const [name, value] of Object.entries(variables)) {
      Deno.env.set(name, value.replace("@", folder));
    }
    work(folder);
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
    Deno.removeSync(folder, { recursive: true });
  }
}

function put(folder: string, version: string | null): void {
  Deno.mkdirSync(`${folder}/lib`, { recursive: true });
  Deno.writeTextFileSync(`${folder}/lib/${libraryNames().cpu}`, "");
  if (version !== null) {
    Deno.writeTextFileSync(
      `${folder}/version.py`,
      `__version__ = '${version}'\n`,
    );
  }
}

function fakePython(folder: string, name: string, answer: string): void {
  Deno.mkdirSync(`${folder}/bin`, { recursive: true });
  Deno.writeTextFileSync(
    `${folder}/bin/${name}`,
    `#!/bin/sh\necho "${answer}"\n`,
    { mode: 0o755 },
  );
}

const ALL = { LIBTORCH: "@/own", LORIKEET_CACHE: "@/cache", PATH: "@/bin" };

Deno.test("searchLibtorch looks in LIBTORCH, then at Python, then in the cache", () => {
  inFolder(ALL, (folder) => {
    put(`${folder}/own`, "2.12.1");
    put(`${folder}/python/torch`, "2.14.0+cpu");
    put(`${folder}/cache/torch-2.13.0/torch`, "2.13.0");
    fakePython(folder, "python3", `${folder}/python/torch`);
    const places = [...searchLibtorch()];
    assert.deepEqual(places.map((each) => each.folder), [
      `${folder}/own/lib`,
      `${folder}/python/torch/lib`,
      `${folder}/cache/torch-2.13.0/torch/lib`,
    ]);
    assert.ok(places.every((each) => each.problem === null));
  });
});

Deno.test("searchLibtorch takes LIBTORCH as the folder of the libraries too", () => {
  inFolder({ ...ALL, LIBTORCH: "@/own/lib" }, (folder) => {
    put(`${folder}/own`, null);
    const [first] = searchLibtorch();
    assert.equal(first?.folder, `${folder}/own/lib`);
  });
});

Deno.test("searchLibtorch refuses a PyTorch that is too old and says its version", () => {
  inFolder(ALL, (folder) => {
    put(`${folder}/own`, "2.10.3+cu128");
    const [first] = searchLibtorch();
    assert.equal(
      first?.problem,
      "is PyTorch 2.10.3+cu128, 2.11 or newer is needed",
    );
  });
});

Deno.test("searchLibtorch asks python only where python3 does not run", () => {
  const named = (places: readonly Place[]): string[] =>
    places.map((each) => each.origin).filter((it) => it.includes("on PATH"));
  inFolder(ALL, (folder) => {
    fakePython(folder, "python", "");
    assert.deepEqual(named([...searchLibtorch()]), [
      "the torch of python3 on PATH",
      "the torch of python on PATH",
    ]);
    fakePython(folder, "python3", "");
    assert.deepEqual(named([...searchLibtorch()]), [
      "the torch of python3 on PATH",
    ]);
  });
});

Deno.test("cacheFolder obeys LORIKEET_CACHE, then XDG_CACHE_HOME", () => {
  inFolder({ LORIKEET_CACHE: "@/a", XDG_CACHE_HOME: "@/b" }, (folder) => {
    assert.equal(cacheFolder(), `${folder}/a`);
    assert.equal(fetchedFolder(), `${folder}/a/torch-2.13.0`);
    Deno.env.set("LORIKEET_CACHE", "");
    assert.equal(cacheFolder(), `${folder}/b/lorikeet`);
  });
});

Deno.test("libraryNames are those of the operating system", () => {
  assert.equal(libraryNames("linux").cuda, "libtorch_cuda.so");
  assert.equal(libraryNames("darwin").cpu, "libtorch_cpu.dylib");
});
