/**
 * The families that lorikeet brings along: a new page is one line here.
 *
 * @module
 */

import { LLAMA } from "./llama.ts";
import type { ModelFamily } from "./registry.ts";

/** All built-in families. */
export const FAMILIES: readonly ModelFamily[] = [
  LLAMA,
];
