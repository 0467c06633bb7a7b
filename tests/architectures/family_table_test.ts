/**
 * The table of families in `models/README.md` against the registry and the golden
 * folders.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  AutoModelForCausalLM,
  defaultTargets,
} from "../../lib/architectures/mod.ts";
import { FAMILIES } from "../../lib/architectures/families.ts";
import { readJsonFile } from "../../lib/formats/json_file.ts";
import { loraConfig, matchTargets, targetTree } from "../../lib/peft/mod.ts";
import { FOLDER } from "./family_folder.ts";

const PAPER = Deno.readTextFileSync("models/README.md");

/** One line of `families.json`. */
interface Golden {
  readonly name: string;
  readonly family: string;
  readonly model_type: string | null;
  readonly architectures: readonly string[];
  readonly reference: string;
}

const GOLDEN: readonly Golden[] = JSON.parse(
  Deno.readTextFileSync(`${FOLDER}/families.json`),
);

/** The cells of the table, without the last column, by family. */
function tableRows(): Map<string, readonly string[]> {
  const start = PAPER.indexOf("| family |");
  const [, , ...lines] = PAPER.slice(start).split("\n\n")[0]!.split("\n");
  const rows = lines.map((line) => line.split("|").slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim()));
  return new Map(rows.map((cells) => [cells[0]!, cells.slice(0, -1)]));
}

function code(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(", ");
}

/** The row of the family whose first golden folder is `golden`. */
function expectedRow(golden: Golden): string[] {
  const model = AutoModelForCausalLM.fromConfig(`${FOLDER}/${golden.name}`);
  const config = loraConfig({ target_modules: "all-linear" });
  const { trainedNames } = matchTargets(targetTree(model), config);
  const defaults = defaultTargets(model.config);
  return [
    golden.family,
    code([model.config.modelType]),
    code(golden.architectures),
    defaults === undefined ? "must be named" : code(defaults),
    code(trainedNames.toSorted()),
    golden.reference === "script" ? "formulas" : "transformers",
  ];
}

Deno.test("the table of families has a row for each family with golden numbers: its names, targets and reference", () => {
  const first = new Map(
    GOLDEN.toReversed().map((golden) => [golden.family, golden]),
  );
  const expected = [...first.values()].reverse().map(expectedRow);
  const rows = tableRows();
  assert.deepEqual([...rows.keys()].sort(), [...first.keys()].sort());
  for (const row of expected) assert.deepEqual(rows.get(row[0]!), row);
});

Deno.test("every registered family has golden numbers, and is named in the papers with its model_type", () => {
  for (const { name, modelTypes, architectures } of FAMILIES) {
    const own = GOLDEN.filter((golden) =>
      architectures.includes(golden.architectures[0]!)
    );
    assert(own.length > 0, name);
    for (const { name: folder } of own) {
      const { model_type } = readJsonFile(`${FOLDER}/${folder}/config.json`);
      assert(
        model_type === undefined || modelTypes.includes(String(model_type)),
      );
    }
    for (const type of modelTypes) assert(PAPER.includes(`\`${type}\``), type);
  }
});

Deno.test("README.md names every family", () => {
  const text = Deno.readTextFileSync("README.md").replace(/\s+/g, " ");
  const [list] = text.slice(text.indexOf("Supported families:")).split(". ");
  // "Gemma 1 to 3" stands for three families.
  const names = FAMILIES.map(({ name }) => name.replace(/^Gemma \d$/, "Gemma"));
  for (const name of names) assert(list!.includes(name), name);
});
