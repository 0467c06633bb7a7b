/**
 * Opening libtorch: lazily, with the permission it needs named, and with every
 * place tried named where there is none.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { libraries } from "../../ffi/mod.ts";

const TENSOR_MODULE = new URL("../../lib/tensor/mod.ts", import.meta.url).href;

/** Runs `code` in another Deno with these flags and environment, nothing else. */
async function runDeno(
  code: string,
  options: {
    readonly flags?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
  } = {},
): Promise<{ success: boolean; text: string }> {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(script, code);
    const { success, stdout, stderr } = await new Deno.Command(
      Deno.execPath(),
      {
        args: [
          "run",
          "-q",
          "--no-prompt",
          "--no-config",
          ...options.flags ?? [],
          script,
        ],
        env: {
          HOME: Deno.env.get("HOME") ?? "",
          ...options.env,
          NO_COLOR: "1",
        },
        clearEnv: true,
      },
    ).output();
    const decoder = new TextDecoder();
    return { success, text: decoder.decode(stdout) + decoder.decode(stderr) };
  } finally {
    await Deno.remove(script);
  }
}

Deno.test("importing lib/tensor/mod.ts needs no permission", async () => {
  const { success, text } = await runDeno(
    `import { aten } from "${TENSOR_MODULE}"; console.log(typeof aten.mul);`,
  );
  assert.equal(text, "function\n");
  assert.ok(success);
});

Deno.test("the first tensor without permissions names the one that is missing", async () => {
  const code = `import { tensor } from "${TENSOR_MODULE}"; tensor([1]);`;
  const none = await runDeno(code);
  assert.equal(none.success, false);
  assert.match(none.text, /NotCapable: Requires env access to "LIBTORCH"/);
  const noFfi = await runDeno(code, {
    flags: ["--allow-env", "--allow-read", "--allow-run"],
    env: environmentWithLibtorch(),
  });
  assert.equal(noFfi.success, false);
  assert.match(noFfi.text, /NotCapable: Requires ffi access .*--allow-ffi/);
});

function environmentWithLibtorch(): Record<string, string> {
  const names = ["LIBTORCH", "LORIKEET_CACHE", "XDG_CACHE_HOME", "PATH"];
  return Object.fromEntries(
    names.map((name) => [name, Deno.env.get(name) ?? ""]),
  );
}

Deno.test("LibtorchNotFoundError names every place that was tried and what to do", async () => {
  const { success, text } = await runDeno(
    `import { LibtorchNotFoundError, tensor } from "${TENSOR_MODULE}";
    try {
      tensor([1]);
    } catch (error) {
      if (!(error instanceof LibtorchNotFoundError)) throw error;
      console.log(error.message);
    }`,
    {
      flags: ["-A"],
      env: {
        LIBTORCH: "no/torch",
        LORIKEET_CACHE: "no/cache",
        PATH: "no/path",
      },
    },
  );
  assert.ok(success, text);
  const library = Deno.build.os === "darwin"
    ? "libtorch_cpu.dylib"
    : "libtorch_cpu.so";
  assert.equal(
    text,
    `Cannot find libtorch: no place has one that opens, run "deno task setup" ` +
      `(it fetches PyTorch 2.13.0 with pip into no/cache/torch-2.13.0) or set ` +
      `LIBTORCH to a folder that has lib/${library}
Tried:
  LIBTORCH=no/torch: has no ${library}
  the torch of python3 on PATH: there is no such Python
  the torch of python on PATH: there is no such Python
  no/cache/torch-2.13.0: has no ${library}
`,
  );
});

Deno.test("a library that does not open is passed over with the loader's words", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const names = ["libtorch_cpu.so", "libtorch_cpu.dylib"];
    for (const name of names) {
      await Deno.writeTextFile(`${folder}/${name}`, "not a library");
    }
    const { text } = await runDeno(
      `import { tensor } from "${TENSOR_MODULE}"; tensor([1]);`,
      {
        flags: ["-A"],
        env: { LIBTORCH: folder, LORIKEET_CACHE: "no/cache", PATH: "no/path" },
      },
    );
    assert.match(text, /LIBTORCH=\S+: Could not open library: .+/);
    assert.match(text, /no\/cache\/torch-2\.13\.0: has no libtorch_cpu/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("libraries() bounds oneDNN's cache of compiled products before libtorch reads the limit, and leaves what the user has set", async () => {
  const ffi = new URL("../../ffi/mod.ts", import.meta.url).href;
  const tensors = new URL("../../lib/tensor/mod.ts", import.meta.url).href;
  // each length needs a product of its own; memory grows until the cache is full
  const code = `
    import { libraries, operator, setThreads } from "${ffi}";
    import { full, Tensor, tensorScope } from "${tensors}";
    libraries();
    setThreads(1);
    const convolve = operator(
      "aten::mkldnn_convolution(Tensor self, Tensor weight, Tensor? bias, SymInt[] padding, SymInt[] stride, SymInt[] dilation, SymInt groups) -> Tensor",
      (handle) => new Tensor(handle),
    );
    const weight = full([64, 64, 1, 1], { value: 1 });
    for (let length = 16; length < 900; length++) {
      using _scope = tensorScope();
      const input = full([1, 64, 1, length], { value: 1 });
      convolve(input, weight, null, [0, 0], [1, 1], [1, 1], 1);
      if (length === 200) console.log(Deno.memoryUsage().rss);
    }
    console.log(Deno.memoryUsage().rss);`;
  const growth = async (env: Record<string, string>): Promise<number> => {
    const { success, text } = await runDeno(code, {
      flags: ["-A"],
      env: { ...environmentWithLibtorch(), ...env },
    });
    assert.ok(success, text);
    const [early = 0, late = 0] = text.trim().split("\n").map(Number);
    return (late - early) / 2 ** 20;
  };
  const ours = await growth({});
  const theirs = await growth({ ONEDNN_PRIMITIVE_CACHE_CAPACITY: "1024" });
  assert.ok(ours < theirs / 2, `${ours} MiB, ${theirs} MiB`);
});

Deno.test("loadLibtorch() loads the library before it is opened, and a tensor made meanwhile waits for it", async () => {
  const code = `import { loadLibtorch, tensor } from "${TENSOR_MODULE}";
    const loaded = loadLibtorch();
    const maps = () =>
      Deno.build.os !== "linux" ||
      Deno.readTextFileSync("/proc/self/maps").includes("libtorch_cpu");
    WAIT
    console.log(tensor([2, 3]).toArray().join());
    await loadLibtorch();
    await loaded;`;
  const wait = `await loaded; if (!maps()) throw new Error("not loaded");`;
  for (const waiting of ["", wait]) {
    const { text } = await runDeno(code.replace("WAIT", waiting), {
      flags: ["--allow-all"],
      env: environmentWithLibtorch(),
    });
    assert.equal(text, "2,3\n");
  }
});

Deno.test("loadLibtorch() says nothing where there is no libtorch; opening it later searches anew", async () => {
  const { text } = await runDeno(
    `import { LibtorchNotFoundError, loadLibtorch, tensor } from "${TENSOR_MODULE}";
    await loadLibtorch();
    try {
      tensor([1]);
    } catch (error) {
      if (!(error instanceof LibtorchNotFoundError)) throw error;
      console.log(error.places.length);
    }
    await loadLibtorch();
    Deno.env.set("LIBTORCH", ${JSON.stringify(libraries().folder)});
    console.log(tensor([2]).item());`,
    {
      flags: ["--allow-all"],
      env: { LORIKEET_CACHE: "no/cache", PATH: "no/path" },
    },
  );
  assert.equal(text, "4\n2\n");
});

Deno.test("loadLibtorch() whose library does not load leaves that to the opening, after which the search begins anew", async () => {
  const folder = await Deno.makeTempDir();
  try {
    for (const name of ["libtorch_cpu.so", "libtorch_cpu.dylib"]) {
      await Deno.writeTextFile(`${folder}/${name}`, "no library");
    }
    const code = `import { loadLibtorch, tensor } from "${TENSOR_MODULE}";
      await loadLibtorch();
      try {
        tensor([1]);
      } catch (error) {
        console.log(error.name);
        Deno.env.set("LIBTORCH", ${JSON.stringify(libraries().folder)});
      }
      console.log(tensor([2]).item());`;
    const flags = ["--allow-all"];
    const broken = { LIBTORCH: folder };
    const alone = { ...broken, LORIKEET_CACHE: "no/cache", PATH: "no/path" };
    const first = await runDeno(code, { flags, env: alone });
    assert.equal(first.text, "LibtorchNotFoundError\n2\n");
    const others = { ...environmentWithLibtorch(), ...broken };
    const second = await runDeno(code, { flags, env: others });
    assert.equal(second.text, "2\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("libtorch's memory of CUDA devices grows in segments, unless the user says how", async () => {
  const ffi = new URL("../../ffi/mod.ts", import.meta.url).href;
  const code = `
    import { libraries } from "${ffi}";
    const { libc } = libraries();
    const name = new TextEncoder().encode("PYTORCH_ALLOC_CONF\\0");
    const value = libc.getenv(name);
    console.log(value && Deno.UnsafePointerView.getCString(value));`;
  const setting = async (env: Record<string, string>): Promise<string> => {
    const { text } = await runDeno(code, {
      flags: ["-A"],
      env: { ...environmentWithLibtorch(), ...env },
    });
    return text.trim();
  };
  assert.equal(await setting({}), "expandable_segments:True");
  const own = "max_split_size_mb:64";
  assert.equal(await setting({ PYTORCH_ALLOC_CONF: own }), own);
  // a value under the new name would hide that of the old one
  assert.equal(await setting({ PYTORCH_CUDA_ALLOC_CONF: own }), "null");
});
