/**
 * unpickle: the opcodes it reads, and one test per way to be refused.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { PickleTuple, unpickle } from "../../lib/formats/pickle.ts";
import type { PickleValue } from "../../lib/formats/pickle.ts";

/** A pickle of protocol 2 with the given body, one byte per character. */
function load(body: string): PickleValue {
  const bytes = Uint8Array.from("\x80\x02" + body, (it) => it.charCodeAt(0));
  return unpickle(bytes, {
    globals: new Map([
      ["m.f", (args: readonly PickleValue[]): PickleValue => [...args]],
      ["m.name", null],
    ]),
    persistent: (id) => new PickleTuple([id]),
  });
}

const values: readonly [string, string, PickleValue][] = [
  ["None", "N.", null],
  ["booleans in a tuple", "\x88\x89\x86.", new PickleTuple([true, false])],
  [
    "whole numbers",
    "(K\xffM\x01\x02J\xfe\xff\xff\xfft.",
    new PickleTuple([255, 513, -2]),
  ],
  ["a long", "\x8a\x05\x00\x00\x00\x00\x01.", 2 ** 32],
  ["a negative long", "\x8a\x01\xff.", -1],
  ["a long beyond 2**53", "\x8a\x08\0\0\0\0\0\0\0\x40.", 2n ** 62n],
  ["a float", "G\x3f\xf8\0\0\0\0\0\0.", 1.5],
  ["texts", "X\x02\0\0\0\xc3\xa9U\x01a\x86.", new PickleTuple(["é", "a"])],
  ["a list", "](K\x01K\x02eK\x03a.", [1, 2, 3]],
  ["a dict", "}(K\x01K\x02uK\x03K\x04s.", new Map([[1, 2], [3, 4]])],
  ["the memo", "Nq\x00K\x01h\x00\x87.", new PickleTuple([null, 1, null])],
  [
    "the long memo",
    "K\x07r\x00\x01\x00\x00j\x00\x01\x00\x00\x86.",
    new PickleTuple([7, 7]),
  ],
  ["an allowed call", "cm\nf\nK\x01\x85R.", [1]],
  ["a persistent id", "K\x01Q.", new PickleTuple([1])],
  ["attributes of a dict, which it drops", "}}b.", new Map()],
];
for (const [what, body, expected] of values) {
  Deno.test(`unpickle reads ${what}`, () => {
    assert.deepEqual(load(body), expected);
  });
}

const refused: readonly [string, string, string][] = [
  ["a cut file", "K", "its pickle is cut short"],
  ["a cut global", "cm\nf", "its pickle is cut short"],
  [
    "a text longer than the file",
    "X\xff\xff\xff\xffa.",
    "its pickle is cut short",
  ],
  ["an empty stack", ".", "its pickle takes more from the stack than it has"],
  [
    "a mark as a value",
    "(.",
    "its pickle takes more from the stack than it has",
  ],
  ["a missing mark", "Nt.", "its pickle takes more from the stack than it has"],
  [
    "a text that is not UTF-8",
    "U\x01\xff.",
    "its pickle has a text that is not UTF-8",
  ],
  ["an unknown memo", "h\x05.", "its pickle recalls 5, which it never kept"],
  [
    "an append to a dict",
    "}Na.",
    "its pickle appends to something that is not a list",
  ],
  [
    "items of a list",
    "]NNs.",
    "its pickle sets items of something that is not a dict",
  ],
  [
    "a key without a value",
    "}(Nu.",
    "its pickle sets items of something that is not a dict",
  ],
  [
    "attributes of a list",
    "]}b.",
    "its pickle sets attributes of something that is not a dict",
  ],
  [
    "code",
    "cposix\nsystem\nX\x02\0\0\0ls\x85R.",
    'its pickle names "posix.system", which is not on the list of what tensors need, so it is not loaded',
  ],
  [
    "a call of a mere name",
    "cm\nname\n)R.",
    "its pickle calls m.name, which is not allowed",
  ],
  [
    "a call of a value",
    "K\x01)R.",
    "its pickle calls a value, which is not allowed",
  ],
  [
    "a call without a tuple",
    "cm\nf\nNR.",
    "its pickle calls m.f, which is not allowed",
  ],
  [
    "new objects",
    "cm\nf\n)\x81.",
    "its pickle uses the opcode 0x81 at byte 8, which no state dict needs",
  ],
];
for (const [what, body, expected] of refused) {
  Deno.test(`unpickle refuses ${what}`, () => {
    assert.throws(() => load(body), { name: "SyntaxError", message: expected });
  });
}

Deno.test("unpickle refuses other protocols", () => {
  const bytes = Uint8Array.of(0x80, 4, 0x4e, 0x2e);
  assert.throws(
    () => unpickle(bytes, { globals: new Map(), persistent: (id) => id }),
    { message: "its pickle is not of protocol 2" },
  );
});
