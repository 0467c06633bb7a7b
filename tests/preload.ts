/**
 * Opens libtorch before the tests of a file: it stays open for good, which the
 * resource sanitizer would hold against the first test that uses a tensor. The
 * tests' models are so small that more threads than one only wait for each other.
 *
 * @module
 */

import { libraries, LibtorchNotFoundError, setThreads } from "../ffi/mod.ts";

try {
  libraries();
  setThreads(1);
} catch (error) {
  // Tests that need no tensor still run.
  if (!(error instanceof LibtorchNotFoundError)) throw error;
}
