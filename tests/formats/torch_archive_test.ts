/**
 * readTorchArchive and writeTorchArchive against files of torch.save and each other;
 * one test per way to be refused.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import type { TensorData } from "../../lib/formats/dtype.ts";
import { readSafetensors } from "../../lib/formats/safetensors.ts";
import { PickleTuple, type PickleValue } from "../../lib/formats/pickle.ts";
import type { TorchValue } from "../../lib/formats/pickle_writer.ts";
import { PyFloat } from "../../lib/formats/python_json.ts";
import {
  readTorchArchive,
  readTorchArchiveIndex,
  TorchArchive,
  writeTorchArchive,
  writeTorchObject,
} from "../../lib/formats/torch_archive.ts";
import { zipChunks } from "../../lib/formats/zip_store.ts";
import { errorOf, errorReading, GOLDEN, inFolder } from "./temporary.ts";

function floats(tensor: TensorData | undefined): number[] {
  return [...new Float32Array(tensor?.bytes.slice().buffer ?? [])];
}

Deno.test("readTorchArchive reads a plain dict", () => {
  const tensors = readTorchArchive(`${GOLDEN}adapter_model.bin`);
  const a = tensors.get("base_model.model.q.lora_A.weight");
  assert.deepEqual(a?.shape, [2, 4]);
  assert.deepEqual(floats(a), [0, 1, 2, 3, 4, 5, 6, 7]);
  const b = tensors.get("base_model.model.q.lora_B.weight");
  assert.deepEqual([b?.dtype, b?.shape, b?.bytes.length], [
    "bfloat16",
    [3, 2],
    12,
  ]);
});

Deno.test("readTorchArchive reads an OrderedDict of tied Parameters", () => {
  const tensors = readTorchArchive(`${GOLDEN}module.bin`);
  const names = ["first.weight", "first.bias", "second.weight", "second.bias"];
  assert.deepEqual([...tensors.keys()], names);
  assert.deepEqual(tensors.get("second.weight"), tensors.get("first.weight"));
  assert.deepEqual(floats(tensors.get("second.bias")), [30, 31, 32]);
});

Deno.test("readTorchArchive makes views of one storage contiguous", () => {
  const tensors = readTorchArchive(`${GOLDEN}views.bin`);
  assert.deepEqual(floats(tensors.get("tail")), [20, 21, 22, 23]);
  assert.deepEqual(
    floats(tensors.get("transposed")),
    [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11],
  );
  assert.deepEqual(
    floats(tensors.get("every_third")),
    [1, 4, 7, 10, 13, 16, 19, 22],
  );
  assert.deepEqual(
    [...new Uint16Array(tensors.get("half")?.bytes.slice().buffer ?? [])],
    [0, 0x4040, 0x3f80, 0x4080, 0x4000, 0x40a0],
  );
  assert.deepEqual(tensors.get("empty")?.shape, [0, 3]);
  assert.deepEqual([...tensors.get("scalar")?.bytes ?? []], [
    7,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
  ]);
});

Deno.test("readTorchArchive repeats the elements of expanded views", () => {
  const tensors = readTorchArchive(`${GOLDEN}views.bin`);
  assert.deepEqual(tensors.get("expanded")?.shape, [2, 3]);
  assert.deepEqual(floats(tensors.get("expanded")), [1, 1, 1, 2, 2, 2]);
  assert.deepEqual(floats(tensors.get("repeated")), [5, 5, 5, 5]);
});

Deno.test("readTorchArchiveIndex gives places that can be mapped", () => {
  const path = `${GOLDEN}views.bin`;
  const index = readTorchArchiveIndex(path);
  const tail = index.get("tail");
  assert.ok(tail);
  assert.equal(tail.strides, undefined);
  const bytes = Deno.readFileSync(path).slice(tail.offset, tail.offset + 4);
  assert.equal(new Float32Array(bytes.buffer)[0], 20);
  assert.notEqual(index.get("transposed")?.strides, undefined);
});

// tests/fixtures/make_formats.py loads written.bin with torch.load(weights_only=True)
Deno.test("writeTorchArchive gives the bytes that PyTorch was seen to load", () => {
  const tensors = readSafetensors(`${GOLDEN}types.safetensors`);
  inFolder((folder) => {
    writeTorchArchive(`${folder}/written.bin`, tensors);
    assert.deepEqual(
      Deno.readFileSync(`${folder}/written.bin`),
      Deno.readFileSync(`${GOLDEN}written.bin`),
    );
  });
});

Deno.test("readTorchArchive gives what writeTorchArchive was given", () => {
  const tensors = readSafetensors(`${GOLDEN}types.safetensors`);
  const wide = {
    dtype: "uint8",
    shape: [300, 300],
    bytes: new Uint8Array(9e4),
  };
  tensors.set("wide", wide as TensorData);
  inFolder((folder) => {
    writeTorchArchive(`${folder}/.hidden`, tensors);
    assert.deepEqual(readTorchArchive(`${folder}/.hidden`), tensors);
  });
});

Deno.test("writeTorchArchive refuses a name that comes twice", () => {
  const tensor: TensorData = {
    dtype: "bool",
    shape: [],
    bytes: new Uint8Array(1),
  };
  assert.throws(
    () => writeTorchArchive("never", [["w", tensor], ["w", tensor]]),
    {
      message: 'Cannot write tensors: "w" is there twice, names must differ',
    },
  );
});

Deno.test("readTorchArchive refuses golden files that hold more than tensors", () => {
  const read = (name: string): string =>
    errorOf(() => readTorchArchive(GOLDEN + name)).replace(GOLDEN, "");
  assert.equal(
    read("optimizer.bin"),
    'Cannot load "optimizer.bin": "state" is a dict, only tensors are read',
  );
  assert.equal(
    read("object.bin"),
    'Cannot load "object.bin": its pickle names "collections.deque", which is not on the list of what tensors need, so it is not loaded',
  );
});

const tar = new Uint8Array(300);
tar.set(new TextEncoder().encode("ustar"), 257);

const starts: readonly [string, Uint8Array | string, string][] = [
  [
    "an empty file",
    "",
    'it does not start with "PK", it is not a file of torch.save',
  ],
  [
    "a tar file",
    tar,
    "it is a tar file of PyTorch before 0.4, load it in Python and save it again with torch.save or as safetensors",
  ],
  [
    "a Git LFS pointer",
    "version https://git-lfs.github.com/spec/v1\n",
    "it is a Git LFS pointer, fetch the real file with `git lfs pull`",
  ],
];
for (const [what, content, expected] of starts) {
  Deno.test(`readTorchArchive refuses ${what}`, () => {
    assert.equal(
      errorReading(content, readTorchArchive),
      `Cannot load "F": ${expected}`,
    );
  });
}

/** A zip of `r/…` entries; the default ones hold one float32 tensor "w" of shape [2]. */
function archive(changes: Record<string, string | null> = {}): Uint8Array {
  const entries: Record<string, string | null> = {
    "r/data.pkl": pickle({}),
    "r/byteorder": "little",
    "r/data/0": "01234567",
    "r/version": "3\n",
    ...changes,
  };
  const sources = Object.entries(entries).flatMap(([name, text]) =>
    text === null ? [] : [{
      name,
      read: () => Uint8Array.from(text, (it) => it.charCodeAt(0)),
    }]
  );
  return Uint8Array.from([...zipChunks(sources)].flatMap((it) => [...it]));
}

interface Parts {
  readonly storage?: string;
  readonly key?: string;
  readonly offset?: string;
  readonly sizes?: string;
  readonly strides?: string;
  readonly build?: string;
  readonly type?: string;
}

/** The pickle of a dict with the tensor "w", with some parts changed. */
function pickle(parts: Parts): string {
  const storage = parts.storage ?? "ctorch\nFloatStorage\n";
  return "\x80\x02}U\x01w" +
    `ctorch._utils\n${parts.build ?? "_rebuild_tensor_v2"}\n` +
    `((U\x07storage${storage}U\x01${parts.key ?? "0"}U\x03cpuK${
      storage.includes("Untyped") ? "\x08" : "\x02"
    }tQ` +
    `${parts.offset ?? "K\x00"}${parts.sizes ?? "K\x02\x85"}` +
    `${parts.strides ?? "K\x01\x85"}\x89}${parts.type ?? ""}tRs.`;
}

Deno.test("readTorchArchive reads the least that torch.load reads", () => {
  inFolder((folder) => {
    Deno.writeFileSync(`${folder}/a`, archive({ "r/byteorder": null }));
    const bytes = new TextEncoder().encode("01234567");
    assert.deepEqual([...readTorchArchive(`${folder}/a`)], [
      ["w", { dtype: "float32", shape: [2], bytes }],
    ]);
  });
});

Deno.test("readTorchArchive reads an untyped storage with its type beside", () => {
  const text = pickle({
    storage: "ctorch.storage\nUntypedStorage\n",
    build: "_rebuild_tensor_v3",
    type: "ctorch\nint32\n",
  });
  inFolder((folder) => {
    Deno.writeFileSync(`${folder}/a`, archive({ "r/data.pkl": text }));
    assert.equal(readTorchArchive(`${folder}/a`).get("w")?.dtype, "int32");
  });
});

const damaged: readonly [string, Record<string, string | null>, string][] = [
  [
    "two roots",
    { "q/x": "" },
    "it has 2 folders at the root, torch.save makes one",
  ],
  ["no root", { x: "" }, 'entry "x" is in no folder, it is damaged'],
  [
    "big-endian numbers",
    { "r/byteorder": "big" },
    'its byte order is "big", only "little" is read',
  ],
  [
    "no pickle",
    { "r/data.pkl": null },
    'it lacks "data.pkl" or "version", it is not a file of torch.save',
  ],
  [
    "no version",
    { "r/version": null },
    'it lacks "data.pkl" or "version", it is not a file of torch.save',
  ],
  ["no storage", { "r/data/0": null }, 'storage "0" of tensor "w" is missing'],
  [
    "a storage of the wrong size",
    { "r/data/0": "0123" },
    'storage "0" of tensor "w" has 4 bytes, 8 are needed',
  ],
  [
    "a root that is not a dict",
    { "r/data.pkl": "\x80\x02]." },
    "it holds a list, not a dict of tensors",
  ],
  [
    "a key that is not a text",
    { "r/data.pkl": "\x80\x02}K\x05Ns." },
    "it has the value 5 as a key, not a name",
  ],
  [
    "a number",
    { "r/data.pkl": "\x80\x02}U\x04stepK\x05s." },
    '"step" is the value 5, only tensors are read',
  ],
  [
    "a storage leading elsewhere",
    { "r/data.pkl": pickle({ storage: "K\x01" }) },
    "its pickle names a storage in an unknown way",
  ],
  [
    "sizes that are no tuple",
    { "r/data.pkl": pickle({ sizes: "K\x02" }) },
    "its pickle builds a tensor in an unknown way",
  ],
  [
    "a negative offset",
    { "r/data.pkl": pickle({ offset: "J\xff\xff\xff\xff" }) },
    "its pickle builds a tensor in an unknown way",
  ],
  [
    "an untyped storage without a type",
    { "r/data.pkl": pickle({ storage: "ctorch.storage\nUntypedStorage\n" }) },
    "its pickle builds a tensor of an unknown type",
  ],
  [
    "a tensor past its storage",
    { "r/data.pkl": pickle({ offset: "K\x01" }) },
    'a tensor of shape [2] and strides [1] runs past storage "0"',
  ],
  [
    "more dimensions than a tensor can have",
    {
      "r/data.pkl": pickle({
        sizes: `(${"K\x01".repeat(65)}t`,
        strides: `(${"K\x01".repeat(65)}t`,
      }),
    },
    "its pickle builds a tensor of 65 dimensions, at most 64 are possible",
  ],
  [
    "a tensor that repeats its storage to a size that fills memory",
    {
      "r/data.pkl": pickle({ sizes: "J\0\0\0\x7f\x85", strides: "K\x00\x85" }),
    },
    'tensor "w" repeats the elements of its storage to 8522825728 bytes, at most 4194304 in one file are read',
  ],
];
for (const [what, changes, expected] of damaged) {
  Deno.test(`readTorchArchive refuses ${what}`, () => {
    assert.equal(
      errorReading(archive(changes), readTorchArchive),
      `Cannot load "F": ${expected}`,
    );
  });
}

Deno.test("writeTorchObject and TorchArchive: nested lists, tuples, dicts, numbers and tensors come back", () => {
  inFolder((folder) => {
    const tensor: TensorData = {
      dtype: "float32",
      shape: [2],
      bytes: new Uint8Array(Float32Array.of(1.5, -2).buffer),
    };
    const numbers = [0, 255, 256, 65536, 2 ** 31, 2 ** 40, -3];
    writeTorchObject(
      `${folder}/state.pt`,
      new Map<string | number, TorchValue>([
        ["state", new Map([[0, new Map([["step", tensor]])]])],
        ["numbers", [...numbers, new PyFloat(2), 0.1, null, true, false]],
        ["pair", { tuple: ["a", { tuple: [] }] }],
      ]),
    );
    using archive = new TorchArchive(`${folder}/state.pt`);
    const object = archive.object();
    assert(object instanceof Map);
    const state = (object.get("state") as Map<number, unknown>)
      .get(0) as Map<string, PickleValue>;
    assert.deepEqual(archive.tensorIn(state.get("step"), "step"), tensor);
    assert.equal(archive.tensorIn(object.get("pair"), "pair"), undefined);
    assert.deepEqual(object.get("numbers"), [
      ...numbers,
      2,
      0.1,
      null,
      true,
      false,
    ]);
    const pair = object.get("pair") as PickleTuple;
    assert.deepEqual(pair.items, ["a", new PickleTuple([])]);
  });
});

Deno.test("TorchArchive reads the state of an optimizer as torch.save wrote it", () => {
  using archive = new TorchArchive(`${GOLDEN}optimizer.bin`);
  const object = archive.object();
  assert(object instanceof Map);
  assert.deepEqual([...object.keys()], ["state", "param_groups"]);
  const [group] = object.get("param_groups") as Map<string, PickleValue>[];
  assert.equal(typeof group!.get("lr"), "number");
});
