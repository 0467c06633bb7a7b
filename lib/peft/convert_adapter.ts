/**
 * Adapters of other programs: recognised by their files, read and written.
 *
 * @module
 */

import { isFile } from "../formats/file_info.ts";
import { readJsonFile } from "../formats/json_file.ts";
import { InputError, quoted } from "../input_error.ts";
import {
  isMlxAdapter,
  readMlxAdapter,
  writeMlxAdapter,
} from "./mlx_adapter.ts";
import {
  type PlainAdapter,
  readPlainAdapter,
  writePlainAdapter,
} from "./plain_adapter.ts";
import {
  isTorchtuneAdapter,
  readTorchtuneAdapter,
  writeTorchtuneAdapter,
} from "./torchtune_adapter.ts";

/** A program whose adapters are read and written. */
export type AdapterFormat = "peft" | "mlx" | "torchtune";

/** What is converted, and where to. */
export interface ConvertOptions {
  /** Folder of the adapter. */
  readonly adapter: string;
  /** Folder that is written. */
  readonly output: string;
  /** The program that reads it. */
  readonly to: AdapterFormat;
  /** Folder of the base model, where the adapter's configuration names none that is there. */
  readonly modelPath?: string | null;
}

/** What was converted. */
export interface ConvertReport {
  /** The program that wrote the adapter. */
  readonly from: AdapterFormat;
  /** The number of adapted modules. */
  readonly modules: number;
}

/**
 * Writes the adapter in one folder into another, for another program; needs no libtorch.
 *
 * @throws {InputError} when the adapter is none of these programs', or has what the
 *   other's files have no place for.
 *
 * @example
 * ```ts
 * import { convertAdapter } from "@lorikeet/lorikeet/peft";
 *
 * const output = `${Deno.makeTempDirSync()}/mlx`;
 * const adapter = "tests/fixtures/peft/trained";
 * const { from } = convertAdapter({ adapter, output, to: "mlx" });
 * if (from !== "peft") throw new Error(`unexpected format ${from}`);
 * Deno.removeSync(output, { recursive: true });
 * ```
 */
export function convertAdapter(options: ConvertOptions): ConvertReport {
  const { adapter: path, output, to } = options;
  const from = isMlxAdapter(path)
    ? "mlx"
    : isTorchtuneAdapter(path)
    ? "torchtune"
    : "peft";
  if (from === to) {
    throw new InputError(
      `Cannot convert adapter ${quoted(path)} to ${to}: it is ${to}'s already`,
    );
  }
  const adapter = from === "mlx"
    ? readMlxAdapter(path)
    : from === "torchtune"
    ? readTorchtuneAdapter(path, neededModel(options, null))
    : readPlainAdapter(path);
  if (to === "mlx") {
    writeMlxAdapter(output, adapter, layerCount(options, adapter));
  } else if (to === "torchtune") {
    writeTorchtuneAdapter(output, adapter, neededModel(options, adapter));
  } else {
    writePlainAdapter(output, adapter);
  }
  return { from, modules: adapter.layers.length };
}

/** The folder of the base model, if it is there. */
function knownModel(
  { modelPath }: ConvertOptions,
  adapter: PlainAdapter | null,
): string | null {
  const path = modelPath ?? adapter?.config.base_model_name_or_path ?? null;
  return path !== null && isFile(`${path}/config.json`) ? path : null;
}

function neededModel(
  options: ConvertOptions,
  adapter: PlainAdapter | null,
): string {
  const path = knownModel(options, adapter);
  if (path !== null) return path;
  throw new InputError(
    `Cannot convert adapter ${
      quoted(options.adapter)
    }: the order of rows in torchtune depends on the base model, name its folder as model_path`,
  );
}

function layerCount(
  options: ConvertOptions,
  adapter: PlainAdapter,
): number | null {
  const path = knownModel(options, adapter);
  if (path === null) return null;
  const { num_hidden_layers: count } = readJsonFile(`${path}/config.json`);
  return Number.isSafeInteger(count) ? count as number : null;
}
