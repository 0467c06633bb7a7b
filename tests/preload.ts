/**
 * Opens libtorch before the tests of a file: it stays open for good, which the
 * resource sanitizer would hold against the first test that uses a tensor.
 *
 * @module
 */

import { libraries, LibtorchNotFoundError } from "../ffi/mod.ts";

try {
  libraries();
} catch (error) {
  // Tests that need no tensor still run.
  if (!(error instanceof LibtorchNotFoundError)) throw error;
}
