/**
 * Rows in templates in the manner of thirty families: ids and trained tokens
 * against transformers (made by make_chat_templates.py), or the turn that cannot
 * be found in the text.
 *
 * @module
 */

import { strict as assert } from "node:assert";
import {
  type EncodedRow,
  promptFormat,
  type TrainingRow,
} from "../../lib/data/prompt_format.ts";
import { shapeNamed } from "../../lib/data/row_shapes.ts";
import { type JsonRow, parseJson } from "../../lib/data/row_values.ts";
import { InputError } from "../../lib/input_error.ts";
import { withTemplate } from "./chat_rows.ts";

interface Case {
  readonly template: string;
  readonly row: string;
  readonly tokenizer: string;
  readonly ids: readonly number[];
  /** One digit a token, where the template marks answers. */
  readonly mask?: string;
  /** Runs of trained tokens, where it does not. */
  readonly trained?: readonly (readonly [number, number])[];
  /** The turn that cannot be found, and the runs of the last turn, if that can. */
  readonly broken?: number;
  readonly last?: readonly (readonly [number, number])[] | null;
  /** Each answer with what is said up to it, null where it cannot be found. */
  readonly sequences?: readonly (Pick<Case, "ids" | "trained"> | null)[];
  /** Why transformers makes no text. */
  readonly refused?: string;
}

const { rows, cases }: {
  readonly rows: Readonly<Record<string, JsonRow>>;
  readonly cases: readonly Case[];
} = parseJson(
  Deno.readTextFileSync("tests/fixtures/chat_templates.json"),
) as never;

const FOLDER = "tests/fixtures/chat_templates";

async function encoded(
  { template, row, tokenizer }: Case,
  trains: "all" | "last" | "divided",
): Promise<EncodedRow[]> {
  const text = Deno.readTextFileSync(`${FOLDER}/${template}.jinja`);
  const format = await promptFormat("chat", {
    tokenizer: await withTemplate(text, tokenizer),
    eosTokenId: 2,
    system: null,
  });
  const { messages, ...more } = shapeNamed("messages").read(rows[row]!);
  const spoken: TrainingRow = {
    ...more,
    place: "r.jsonl:1",
    messages: messages.map((message, at) => ({
      ...message,
      trained: message.role === "assistant" &&
        (trains !== "last" || at === messages.length - 1),
    })),
  };
  const sequences = trains === "divided" ? format.divided!(spoken) : [spoken];
  return await format.encode(sequences, 100_000);
}

/** Whether each token is trained. */
function maskOf(
  { ids, mask, trained, last }: Omit<Case, "template" | "row" | "tokenizer">,
): boolean[] {
  return ids.map((_, at) =>
    mask === undefined
      ? (trained ?? last!).some(([start, end]) => start <= at && at < end)
      : mask[at] === "1"
  );
}

function check(
  [found, ...more]: readonly EncodedRow[],
  wanted: Omit<Case, "template" | "row" | "tokenizer">,
): void {
  assert(found !== undefined && more.length === 0);
  assert.deepEqual(found.input_ids, wanted.ids);
  const mask = maskOf(wanted);
  found.labels.forEach((label, at) => {
    assert.equal(label, mask[at] ? wanted.ids[at] : -100, `token ${at}`);
  });
}

/** Every answer is trained where the template would spell it when it is asked for. */
async function checkSequences(wanted: Case): Promise<void> {
  const sequences = wanted.sequences!;
  const lost = sequences.findIndex((it) => it === null);
  if (lost < 0) {
    const found = await encoded(wanted, "divided");
    assert.equal(found.length, sequences.length);
    found.forEach((each, at) => check([each], sequences[at]!));
    return;
  }
  const turns = shapeNamed("messages").read(rows[wanted.row]!).messages.flatMap(
    ({ role }, at) => role === "assistant" ? [at + 1] : [],
  );
  await assert.rejects(encoded(wanted, "divided"), {
    name: "InputError",
    message: new RegExp(`^r.jsonl:1: turn ${turns[lost]} \\(`, "m"),
  });
}

for (const [template, found] of Map.groupBy(cases, (it) => it.template)) {
  Deno.test(`prompt format chat gives transformers' ids and trained tokens for template ${template}`, async (test) => {
    for (const wanted of found) {
      await test.step(`${wanted.row}, ${wanted.tokenizer}`, async () => {
        if (wanted.refused !== undefined) {
          await assert.rejects(encoded(wanted, "all"), InputError);
        } else if (wanted.broken === undefined) {
          check(await encoded(wanted, "all"), wanted);
          check(await encoded(wanted, "divided"), wanted);
        } else {
          await assert.rejects(encoded(wanted, "all"), {
            name: "InputError",
            message: new RegExp(`^r.jsonl:1: turn ${wanted.broken} \\(`, "m"),
          });
          if (wanted.last !== null) {
            check(await encoded(wanted, "last"), wanted);
          } else await assert.rejects(encoded(wanted, "last"), InputError);
          await checkSequences(wanted);
        }
      });
    }
  });
}
