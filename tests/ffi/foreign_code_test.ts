/**
 * Nothing that lies in the working folder is run or loaded: not a `torch/`, a
 * `pip/`, modules of Python's own names, a `.cache/` or a library of a system name.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { fetchLibtorch } from "../../ffi/mod.ts";
import {
  fetchedFolder,
  libraryNames,
  searchLibtorch,
} from "../../ffi/search.ts";

/** What a stranger may have left: every module of it writes `marker` when it is run. */
function plant(folder: string, marker: string): void {
  const code = `open(${JSON.stringify(marker)}, "a").write(__name__ + "\\n")\n`;
  const modules = [
    "torch/__init__.py",
    "pip/__init__.py",
    "pip/__main__.py",
    "importlib/__init__.py",
    "ctypes/__init__.py",
    "site.py",
    "os.py",
    "sitecustomize.py",
    "usercustomize.py",
  ];
  for (const path of modules) {
    Deno.mkdirSync(`${folder}/${path}`.replace(/\/[^/]*$/, ""), {
      recursive: true,
    });
    Deno.writeTextFileSync(`${folder}/${path}`, code);
  }
  const libraries = [
    "torch/lib",
    "lib",
    `.cache/lorikeet/${fetchedFolder()!.split("/").at(-1)}/torch/lib`,
    ".",
  ];
  for (const path of libraries) {
    Deno.mkdirSync(`${folder}/${path}`, { recursive: true });
    const names = [
      ...Object.values(libraryNames()),
      "libcuda.so.1",
      "libc.so.6",
    ];
    for (const name of names) {
      Deno.writeTextFileSync(`${folder}/${path}/${name}`, "no library");
    }
  }
}

/** Stands in a folder of planted code with `variables` set; what ran is in the marker. */
async function inPlantedFolder(
  variables: Readonly<Record<string, string | undefined>>,
  work: (folder: string) => unknown,
): Promise<void> {
  const folder = Deno.realPathSync(Deno.makeTempDirSync());
  const cwd = Deno.cwd();
  const names = Object.keys(variables);
  const before = names.map((name) => [name, Deno.env.get(name)] as const);
  const set = (name: string, value: string | undefined): void => {
    if (value === undefined) Deno.env.delete(name);
    else Deno.env.set(name, value.replace("@", folder));
  };
  try {
    Deno.mkdirSync(`${folder}/here`);
    plant(`${folder}/here`, `${folder}/marker`);
    Deno.chdir(`${folder}/here`);
    Object.entries(variables).forEach(([name, value]) => set(name, value));
    await work(folder);
    assert.throws(
      () => Deno.readTextFileSync(`${folder}/marker`),
      Deno.errors.NotFound,
      "planted code ran",
    );
  } finally {
    Deno.chdir(cwd);
    before.forEach(([name, value]) => set(name, value));
    Deno.removeSync(folder, { recursive: true });
  }
}

const PATHS_WITH_HERE = [undefined, "", ".", ":", "./"];

for (const PYTHONPATH of PATHS_WITH_HERE) {
  Deno.test(`searchLibtorch finds nothing in the working folder with PYTHONPATH ${JSON.stringify(PYTHONPATH)}`, async () => {
    await inPlantedFolder({ PYTHONPATH, LIBTORCH: undefined }, (folder) => {
      for (const place of searchLibtorch()) {
        assert(!place.folder?.startsWith(folder), place.origin);
        assert(place.folder === null || place.folder.startsWith("/"));
      }
    });
  });
}

Deno.test("searchLibtorch looks for no cache in the working folder where HOME is not set or relative", async () => {
  for (const HOME of [undefined, "", ".", "x/../"]) {
    const variables = {
      HOME,
      XDG_CACHE_HOME: ".cache",
      LORIKEET_CACHE: undefined,
    };
    await inPlantedFolder(variables, async () => {
      const cache = [...searchLibtorch()].at(-1);
      assert.deepEqual(cache, {
        origin: "the cache",
        folder: null,
        problem: "has no place without HOME",
      });
      await assert.rejects(fetchLibtorch({ gpu: false }), {
        message:
          "Cannot fetch libtorch: HOME is not set, set it or LORIKEET_CACHE to the folder to keep it in",
      });
    });
  }
});

Deno.test("searchLibtorch asks for the PyTorch of an absolute PYTHONPATH and of the user's own packages", async () => {
  await inPlantedFolder(
    { PYTHONPATH: "@/elsewhere", LIBTORCH: undefined },
    (folder) => {
      const library = `${folder}/elsewhere/torch/lib/${libraryNames().cpu}`;
      Deno.mkdirSync(`${folder}/elsewhere/torch/lib`, { recursive: true });
      Deno.writeTextFileSync(library, "");
      const python = [...searchLibtorch()][1];
      assert.equal(python?.folder, `${folder}/elsewhere/torch/lib`);
    },
  );
});

Deno.test("fetchLibtorch runs neither a pip nor a module that lies in the working folder", async () => {
  const variables = {
    LORIKEET_CACHE: "../cache",
    PYTHONPATH: ":.",
    // an index that is nowhere: pip itself runs, and fails
    PIP_INDEX_URL: "http://127.0.0.1:9/",
    PIP_EXTRA_INDEX_URL: "",
    PIP_FIND_LINKS: "",
    PIP_CONFIG_FILE: "/dev/null",
    PIP_RETRIES: "0",
    PIP_DEFAULT_TIMEOUT: "1",
  };
  await inPlantedFolder(variables, async (folder) => {
    await assert.rejects(fetchLibtorch({ gpu: false }), /Cannot fetch/);
    assert.deepEqual([...Deno.readDirSync(`${folder}/cache`)], []);
  });
});

Deno.test("a fresh process opens no library of a system name that lies in its working folder", async () => {
  await inPlantedFolder({}, (folder) => {
    const script = `
      import { ensureLibtorch } from "${new URL(
      "../../mod.ts",
      import.meta.url,
    )}";
      console.log((await ensureLibtorch()).folder);`;
    Deno.writeTextFileSync(`${folder}/script.ts`, script);
    const { stdout, stderr, success } = new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "-A", "--no-config", `${folder}/script.ts`],
    }).outputSync();
    const decoder = new TextDecoder();
    assert(success, decoder.decode(stderr));
    assert(!decoder.decode(stdout).startsWith(folder));
  });
});
