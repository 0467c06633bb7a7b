/**
 * readZipEntries and zipChunks: round trip, zip64, and one test per way to be damaged.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { FileBytes } from "../../lib/formats/file_bytes.ts";
import { readZipEntries, zipChunks } from "../../lib/formats/zip_store.ts";
import { errorReading, inFolder } from "./temporary.ts";

const TEXTS = [["m/a", "first"], ["m/é", ""], ["m/data/0", "third"]] as const;

function zip(): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const chunks = zipChunks(
    TEXTS.map(([name, text]) => ({ name, read: () => encoder.encode(text) })),
  );
  return Uint8Array.from([...chunks].flatMap((chunk) => [...chunk]));
}

function read(path: string): [string, string, number][] {
  using file = new FileBytes(path);
  return [...readZipEntries(file)].map(([name, { offset, size }]) => [
    name,
    new TextDecoder().decode(file.read(offset, size)),
    offset % 64,
  ]);
}

function entriesOf(bytes: Uint8Array): [string, string, number][] {
  return inFolder((folder) => {
    Deno.writeFileSync(`${folder}/zip`, bytes);
    return read(`${folder}/zip`);
  });
}

/** Where the record that begins with `PK` and `second` starts, the `index`-th. */
function find(bytes: Uint8Array, second: number, index = 0): number {
  const places = [...bytes.keys()].filter((at) =>
    bytes[at] === 0x50 && bytes[at + 1] === 0x4b && bytes[at + 2] === second &&
    bytes[at + 3] === second + 1
  );
  return places[index] ?? -1;
}

const LOCAL = 3;
const CENTRAL = 1;
const END = 5;

/** The zip with `values` put `offset` bytes into a record. */
function patched(
  record: number,
  offset: number,
  ...values: number[]
): Uint8Array {
  const bytes = zip();
  bytes.set(values, find(bytes, record) + offset);
  return bytes;
}

/** The zip with zip64 records for its directory and for the place of its first entry. */
function zip64(): Uint8Array<ArrayBuffer> {
  const bytes = zip();
  const central = find(bytes, CENTRAL);
  const end = find(bytes, END);
  const extra = new DataView(new ArrayBuffer(28));
  extra.setUint16(0, 1, true);
  extra.setUint16(2, 24, true);
  extra.setBigUint64(4, 5n, true);
  extra.setBigUint64(12, 5n, true);
  extra.setBigUint64(20, 0n, true);
  const name = central + 46 + 3;
  const directory = [
    ...bytes.slice(central, name),
    ...new Uint8Array(extra.buffer),
    ...bytes.slice(name, end),
  ];
  directory.fill(0xff, 20, 28);
  directory[30] = 28;
  directory.fill(0xff, 42, 46);
  const tail = new DataView(new ArrayBuffer(56 + 20));
  tail.setUint32(0, 0x06064b50, true);
  tail.setBigUint64(32, 3n, true);
  tail.setBigUint64(40, BigInt(directory.length), true);
  tail.setBigUint64(48, BigInt(central), true);
  tail.setUint32(56, 0x07064b50, true);
  tail.setBigUint64(64, BigInt(central + directory.length), true);
  const last = bytes.slice(end).fill(0xff, 8, 20);
  return Uint8Array.from([
    ...bytes.slice(0, central),
    ...directory,
    ...new Uint8Array(tail.buffer),
    ...last,
  ]);
}

Deno.test("readZipEntries finds what zipChunks wrote, aligned to 64 bytes", () => {
  assert.deepEqual(
    entriesOf(zip()),
    TEXTS.map(([name, text]) => [name, text, 0]),
  );
});

for (const wideFrom of [1, 4, 100, 300]) {
  Deno.test(`zipChunks with zip64 from ${wideFrom} bytes on is read back the same`, () => {
    const encoder = new TextEncoder();
    const chunks = zipChunks(
      TEXTS.map(([name, text]) => ({ name, read: () => encoder.encode(text) })),
      { wideFrom },
    );
    const bytes = Uint8Array.from([...chunks].flatMap((chunk) => [...chunk]));
    assert.deepEqual(entriesOf(bytes), entriesOf(zip()));
    assert(bytes.length > zip().length);
  });
}

Deno.test("readZipEntries reads zip64 records", () => {
  assert.deepEqual(
    entriesOf(zip64()).map(([name, text]) => [name, text]),
    TEXTS.map((it) => [...it]),
  );
});

Deno.test("readZipEntries skips a comment at the end", () => {
  const bytes = Uint8Array.from([...zip(), ...new TextEncoder().encode("hi")]);
  bytes[bytes.length - 4] = 2;
  assert.equal(entriesOf(bytes).length, 3);
});

function withoutZip64Field(): Uint8Array {
  const bytes = zip64();
  bytes[find(bytes, CENTRAL) + 46 + 3] = 9;
  return bytes;
}

function withoutZip64End(): Uint8Array {
  const bytes = zip64();
  bytes[bytes.length - 22 - 20 - 56] = 0;
  return bytes;
}

function withTwins(): Uint8Array {
  const [name = ""] = TEXTS[0];
  const twin = { name, read: () => new Uint8Array(1) };
  return Uint8Array.from(
    [...zipChunks([twin, twin])].flatMap((chunk) => [...chunk]),
  );
}

const cases: readonly [string, Uint8Array, string][] = [
  [
    "a file whose end is cut off",
    zip().slice(0, -1),
    "it is not a complete zip file, its directory is cut off",
  ],
  [
    "a directory past the end",
    patched(END, 12, 0xff, 0xff),
    "its zip directory runs past the end, it is damaged",
  ],
  [
    "a directory with fewer entries than it says",
    patched(END, 10, 9),
    "its zip directory is cut short, it is damaged",
  ],
  [
    "a name longer than the directory",
    patched(CENTRAL, 28, 0xff, 0xff),
    "its zip directory is cut short, it is damaged",
  ],
  ["an encrypted entry", patched(CENTRAL, 8, 1), 'entry "m/a" is encrypted'],
  [
    "a compressed entry",
    patched(CENTRAL, 10, 8),
    'entry "m/a" is compressed, torch.save stores entries',
  ],
  [
    "an entry with two sizes",
    patched(CENTRAL, 20, 4),
    'entry "m/a" has two different sizes, it is damaged',
  ],
  [
    "an entry past the data",
    patched(CENTRAL, 20, 0, 9, 0, 0, 0, 9),
    'entry "m/a" runs past the data, it is damaged',
  ],
  [
    "an entry that is elsewhere",
    patched(LOCAL, 0, 0),
    'entry "m/a" is not where the directory says',
  ],
  ["an entry twice", withTwins(), 'it has the entry "m/a" twice'],
  [
    "an entry without its zip64 sizes",
    withoutZip64Field(),
    'entry "m/a" lacks its zip64 sizes, it is damaged',
  ],
  [
    "a zip64 locator that points nowhere",
    withoutZip64End(),
    "its zip64 end record is missing, it is damaged",
  ],
];
for (const [what, bytes, expected] of cases) {
  Deno.test(`readZipEntries refuses ${what}`, () => {
    assert.equal(errorReading(bytes, read), `Cannot load "F": ${expected}`);
  });
}
