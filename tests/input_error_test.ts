/**
 * That no name, value or message from outside reaches a terminal with characters
 * that the terminal would obey, or without bound.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { readSettingsFile } from "../lib/arguments/settings_file.ts";
import { readJsonFile } from "../lib/formats/json_file.ts";
import { readSafetensorsHeader } from "../lib/formats/safetensors_header.ts";
import { readObjectPickle } from "../lib/formats/tensor_pickle.ts";
import { findWeights } from "../lib/formats/weights.ts";
import { InputError, printable, quoted } from "../lib/input_error.ts";
import { parseTrainArguments } from "../mod.ts";
import { reportOf } from "../tasks/report_error.ts";
import { errorOf, inFolder } from "./formats/temporary.ts";

/** Clears the screen, sets the title, turns text around, breaks lines. */
const HOSTILE = "a\x1b[2J\x1b]0;owned\x07\x9b31m\u202egpj\u2028b\r\ufeff";
const RAW = /(?![\n\t])[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\ufeff]/u;

Deno.test("printable() spells out control and format characters, and keeps \\n, \\t and joiners", () => {
  assert.equal(
    printable(HOSTILE),
    "a\\u001b[2J\\u001b]0;owned\\u0007\\u009b31m\\u202egpj\\u2028b\\u000d\\ufeff",
  );
  const fine = "line\n\tämə 甄嬛 👩\u200d👧 می\u200cخواهم";
  assert.equal(printable(fine), fine);
  assert.equal(printable("\u{e0041}\ud800"), "\\u{e0041}\\ud800");
});

Deno.test("quoted() gives JSON without raw control characters and of bounded length", () => {
  assert.equal(quoted('a"b\n'), '"a\\"b\\n"');
  assert.equal(quoted("\u202e"), '"\\u202e"');
  assert.equal(quoted([1, "\x9b"]), '[1,"\\u009b"]');
  assert.equal(quoted(undefined), "undefined");
  assert.equal(quoted(7n), "7");
  assert.equal(quoted("x".repeat(1000)).length, 203);
  assert.equal(quoted("start" + "x".repeat(1000) + "end").slice(-4), 'end"');
  assert(quoted(Array.from({ length: 1e5 }, () => 0)).length < 210);
  const circle: unknown[] = [];
  circle.push(circle);
  assert.equal(quoted(circle), "an array");
});

Deno.test("an InputError's message has no raw control character and an end", () => {
  assert.doesNotMatch(new InputError(`Cannot ${HOSTILE}`).message, RAW);
  assert.equal(new InputError("Cannot x:\n\ty").message, "Cannot x:\n\ty");
  assert(new InputError("x".repeat(1e6)).message.length < 20_010);
});

Deno.test("reportOf() prints no raw control character of any error", () => {
  assert.doesNotMatch(reportOf(new Error(HOSTILE)).text, RAW);
  assert.doesNotMatch(reportOf(new Deno.errors.NotCapable(HOSTILE)).text, RAW);
  assert.doesNotMatch(reportOf(HOSTILE).text, RAW);
});

/** What each reader says of a file that is hostile in its name or its content. */
function messagesAbout(folder: string): string[] {
  const write = (name: string, content: string | Uint8Array): string => {
    const bytes = typeof content === "string"
      ? new TextEncoder().encode(content)
      : content;
    Deno.writeFileSync(`${folder}/${name}`, bytes);
    return `${folder}/${name}`;
  };
  const header = new TextEncoder().encode(JSON.stringify({
    [HOSTILE]: { dtype: HOSTILE, shape: [], data_offsets: [0, 0] },
  }));
  const length = new BigUint64Array([BigInt(header.length)]);
  const bytes = Uint8Array.of(...new Uint8Array(length.buffer), ...header);
  const map = { weight_map: { [HOSTILE]: `${HOSTILE}.safetensors` } };
  const tensors = write("hostile.safetensors", bytes);
  const json = write("key.json", '{"\\u001b[2J": \x1b}');
  const text = write("text.json", JSON.stringify(HOSTILE));
  const settings = write("settings.yaml", '? [\x1b[2J\n: "\x9b');
  write("model.safetensors.index.json", JSON.stringify(map));
  return [
    () => readJsonFile(`${folder}/${HOSTILE}`),
    () => readJsonFile(json),
    () => readJsonFile(text),
    () => readSafetensorsHeader(tensors),
    () => findWeights(folder),
    () => readSettingsFile(settings),
    () => readSettingsFile(`${folder}/${HOSTILE}`),
    () => parseTrainArguments([`--${HOSTILE}`, HOSTILE]),
    () => parseTrainArguments(["--lora_rank", HOSTILE]),
    () => parseTrainArguments([`${HOSTILE}.json`]),
  ].map(errorOf);
}

Deno.test("no reader prints control characters of file names, keys, tensor names and values", () => {
  for (const message of inFolder(messagesAbout)) {
    assert.doesNotMatch(message, RAW);
  }
});

Deno.test("a name of many lines cannot pretend to be another message", () => {
  const path = 'x"\nCannot trust "y';
  assert.equal(errorOf(() => readJsonFile(path)).split("\n").length, 1);
  const pickle = new TextEncoder().encode("\x02cx\x1b\ny\n.");
  assert.throws(
    () => readObjectPickle(Uint8Array.of(0x80, ...pickle)),
    (error) => error instanceof SyntaxError && !RAW.test(error.message),
  );
});
