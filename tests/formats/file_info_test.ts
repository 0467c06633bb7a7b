/**
 * Asking for files that are and are not there.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { fileInfo, isFile } from "../../lib/formats/file_info.ts";

Deno.test("fileInfo() is null for what is missing, also below a file", () => {
  assert.equal(fileInfo("no/such/path"), null);
  assert.equal(fileInfo("deno.json/below"), null);
  assert.equal(fileInfo("lib")?.isDirectory, true);
});

Deno.test("isFile() tells files from folders", () => {
  assert.equal(isFile("deno.json"), true);
  assert.equal(isFile("lib"), false);
  assert.equal(isFile("no/such/path"), false);
});
