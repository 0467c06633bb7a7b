/**
 * Asking for files that are and are not there.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import { fileInfo, isFile, systemReason } from "../../lib/formats/file_info.ts";

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

Deno.test("fileInfo() is null for names that no file can have", () => {
  assert.equal(fileInfo("x".repeat(5000)), null);
  assert.equal(fileInfo("a\0b"), null);
  const link = `${Deno.makeTempDirSync()}/link`;
  Deno.symlinkSync(link, link);
  assert.equal(fileInfo(link), null);
  Deno.removeSync(link);
});

Deno.test("systemReason() is the operating system's reason, and nothing else's", () => {
  const reason = (path: string): string | undefined => {
    try {
      Deno.readFileSync(path);
    } catch (error) {
      return systemReason(error);
    }
    return undefined;
  };
  assert.equal(reason("no/such/path"), "no such file or directory");
  assert.equal(systemReason(new Error("Something (else)")), undefined);
  assert.equal(systemReason("text"), undefined);
});
