/**
 * Fetching libtorch: what is asked of pip, what is kept, and that the cache holds
 * a whole installation or none. The download of half a gigabyte is stood in for
 * by a `python3` that writes small files; `deno task setup` runs the real one.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { fetchLibtorch } from "../../ffi/mod.ts";
import { libraryNames } from "../../ffi/search.ts";

/** What the stand-in does when it is asked to install into `$target`. */
const INSTALL_CPU = `
mkdir -p "$target/torch/lib" "$target/torch/include" "$target/torch-2.13.0.dist-info"
echo "__version__ = '2.13.0+cpu'" > "$target/torch/version.py"
echo "import os" > "$target/torch/__init__.py"
for name in ${libraryNames().cpu} ${libraryNames().c10} libgomp.so.1 libtorch_python.so libtorch_cuda.so; do
  echo x > "$target/torch/lib/$name"
done
echo x > "$target/torch/include/a.h"
echo "Requires-Dist: filelock" > "$target/torch-2.13.0.dist-info/METADATA"
`;
const INSTALL_CUDA = `
case "$*" in
  *cuda-toolkit*)
    mkdir -p "$target/nvidia/cu13/lib" "$target/nvidia/cu13/include"
    echo x > "$target/nvidia/cu13/lib/libcudart.so.13"
    echo x > "$target/nvidia/cu13/include/a.h";;
  *)
    ${INSTALL_CPU}
    echo 'Requires-Dist: cuda-toolkit[cublas,cudart,cupti]==13.0.3; platform_system == "Linux"' \
      >> "$target/torch-2.13.0.dist-info/METADATA";;
esac
`;

interface Stage {
  /** The cache, empty at first. */
  readonly cache: string;
  /** The arguments of every `pip install` so far, one a line. */
  asked(): string;
}

/** Puts a `python3` on PATH whose pip runs `install`, and gives a cache. */
async function onStage(
  install: string,
  work: (stage: Stage) => Promise<void>,
): Promise<void> {
  const folder = Deno.makeTempDirSync();
  const before = ["PATH", "LORIKEET_CACHE"].map((name) =>
    [name, Deno.env.get(name)] as const
  );
  const log = `${folder}/log`;
  Deno.mkdirSync(`${folder}/bin`);
  Deno.writeTextFileSync(
    `${folder}/bin/python3`,
    `#!/bin/sh
case "$*" in "-I -m pip install"*) ;; *) exit 0;; esac
echo "$*" >> "${log}"
shift 5
target="$1"
final="\${target%.partial-*}"
${install}
`,
    { mode: 0o755 },
  );
  Deno.env.set("PATH", `${folder}/bin:/usr/bin:/bin`);
  Deno.env.set("LORIKEET_CACHE", `${folder}/cache`);
  try {
    await work({
      cache: `${folder}/cache`,
      asked: () => Deno.readTextFileSync(log),
    });
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
    Deno.removeSync(folder, { recursive: true });
  }
}

function filesBelow(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) =>
    isDirectory
      ? filesBelow(`${folder}/${name}`).map((path) => `${name}/${path}`)
      : [name]
  ).sort();
}

Deno.test("fetchLibtorch asks pip for the pinned torch alone and keeps what a CPU needs", async () => {
  await onStage(INSTALL_CPU, async ({ cache, asked }) => {
    const folder = await fetchLibtorch({ gpu: false });
    assert.equal(folder, `${cache}/torch-2.13.0`);
    assert.match(asked(), / --no-deps torch==2\.13\.0\n$/);
    assert.deepEqual(
      filesBelow(cache).map((path) => path.replace("torch-2.13.0/", "")),
      [
        "torch-2.13.0.dist-info/METADATA",
        `torch/lib/${libraryNames().c10}`,
        "torch/lib/libgomp.so.1",
        `torch/lib/${libraryNames().cpu}`,
        "torch/version.py",
      ],
    );
  });
});

Deno.test("fetchLibtorch runs pip once, what is there is used again", async () => {
  await onStage(INSTALL_CPU, async ({ asked }) => {
    const first = await fetchLibtorch({ gpu: false });
    assert.equal(await fetchLibtorch({ gpu: false }), first);
    assert.equal(asked().trim().split("\n").length, 1);
  });
});

Deno.test({
  name:
    "fetchLibtorch adds to a CUDA build the two libraries without which it does not open",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    await onStage(INSTALL_CUDA, async ({ cache, asked }) => {
      await fetchLibtorch({ gpu: false });
      assert.match(asked(), / cuda-toolkit\[cudart,cupti\]==13\.0\.3\n$/);
      const files = filesBelow(`${cache}/torch-2.13.0`);
      assert.ok(files.includes("nvidia/cu13/lib/libcudart.so.13"));
      assert.ok(!files.includes("nvidia/cu13/include/a.h"));
      assert.ok(!files.includes("torch/lib/libtorch_cuda.so"));
    });
  },
});

Deno.test("fetchLibtorch for a GPU takes torch with all it asks for", async () => {
  await onStage(INSTALL_CPU, async ({ cache, asked }) => {
    await fetchLibtorch({ gpu: true });
    assert.doesNotMatch(asked(), /--no-deps/);
    const files = filesBelow(`${cache}/torch-2.13.0`);
    assert.ok(files.includes("torch/lib/libtorch_cuda.so"));
  });
});

Deno.test("fetchLibtorch that fails says pip's last words and leaves nothing", async () => {
  const fail = `${INSTALL_CPU}
echo "ERROR: the disk is full" >&2
exit 1`;
  await onStage(fail, async ({ cache }) => {
    await assert.rejects(fetchLibtorch({ gpu: false }), {
      message:
        'Cannot fetch torch==2.13.0 with "python3 -I -m pip": pip failed, check the ' +
        "network and pip's settings, or set LIBTORCH to a libtorch or the torch " +
        "folder of a Python\n  ERROR: the disk is full",
    });
    assert.deepEqual(filesBelow(cache), []);
  });
});

Deno.test("fetchLibtorch asks again for any Python where pip has none for its own", async () => {
  const onlyOthers = `
case "$*" in *--python-version*) true;; *)
  echo "ERROR: No matching distribution found for torch==2.13.0" >&2; exit 1;; esac
${INSTALL_CPU}`;
  await onStage(onlyOthers, async ({ asked }) => {
    await fetchLibtorch({ gpu: false });
    assert.match(
      asked(),
      /--python-version 3\.12 --only-binary=:all: --no-deps/,
    );
  });
});

Deno.test("fetchLibtorch uses what another run has put there meanwhile", async () => {
  const meanwhile = `${INSTALL_CPU}
mkdir -p "$final/torch"; echo other > "$final/torch/mark"`;
  await onStage(meanwhile, async ({ cache }) => {
    await fetchLibtorch({ gpu: false });
    assert.deepEqual(filesBelow(cache), ["torch-2.13.0/torch/mark"]);
  });
});

Deno.test("fetchLibtorch without any pip names what it tried to run", async () => {
  await onStage("", async ({ cache }) => {
    Deno.env.set("PATH", "no/path");
    await assert.rejects(fetchLibtorch({ gpu: false }), {
      message: 'Cannot fetch libtorch: none of "python3 -I -m pip", ' +
        '"python -I -m pip", "pip3", "pip" runs, install Python with pip or set LIBTORCH to a ' +
        "libtorch",
    });
    assert.deepEqual(filesBelow(cache), []);
  });
});
