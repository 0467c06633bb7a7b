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
  /** Why transformers makes no text. */
  readonly refused?: string;
}

const { rows, cases }: {
  readonly rows: Readonly<Record<string, TrainingRow>>;
  readonly cases: readonly Case[];
} = JSON.parse(Deno.readTextFileSync("tests/fixtures/chat_templates.json"));

const FOLDER = "tests/fixtures/chat_templates";

async function encoded(
  { template, row, tokenizer }: Case,
  trains: "all" | "last",
): Promise<EncodedRow> {
  const text = Deno.readTextFileSync(`${FOLDER}/${template}.jinja`);
  const format = await promptFormat("chat", {
    tokenizer: await withTemplate(text, tokenizer),
    eosTokenId: 2,
    system: null,
  });
  const { messages, ...more } = rows[row]!;
  const [found] = await format.encode([{
    ...more,
    place: "r.jsonl:1",
    messages: messages.map((message, at) => ({
      ...message,
      trained: message.role === "assistant" &&
        (trains === "all" || at === messages.length - 1),
    })),
  }], 100_000);
  return found!;
}

/** Whether each token is trained. */
function maskOf({ ids, mask, trained, last }: Case): boolean[] {
  return ids.map((_, at) =>
    mask === undefined
      ? (trained ?? last!).some(([start, end]) => start <= at && at < end)
      : mask[at] === "1"
  );
}

function check(found: EncodedRow, wanted: Case): void {
  assert.deepEqual(found.input_ids, wanted.ids);
  const mask = maskOf(wanted);
  found.labels.forEach((label, at) => {
    assert.equal(label, mask[at] ? wanted.ids[at] : -100, `token ${at}`);
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
        } else {
          await assert.rejects(encoded(wanted, "all"), {
            name: "InputError",
            message: new RegExp(`^r.jsonl:1: turn ${wanted.broken} \\(`, "m"),
          });
          if (wanted.last !== null) {
            check(await encoded(wanted, "last"), wanted);
          } else await assert.rejects(encoded(wanted, "last"), InputError);
        }
      });
    }
  });
}
