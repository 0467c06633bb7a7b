/**
 * The files that follow a run: JSON lines, CSV, TensorBoard.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import { protobufFields } from "../../lib/formats/protobuf.ts";
import { InputError } from "../../lib/input_error.ts";
import {
  csvCallback,
  jsonLinesCallback,
} from "../../lib/training/log_files.ts";
import { planTraining } from "../../lib/training/plan.ts";
import { tensorBoardCallback } from "../../lib/training/tensorboard.ts";
import { trainingArguments } from "../../lib/arguments/train_arguments.ts";

const PLAN = planTraining(8, trainingArguments({ max_steps: 9 }));
const ROWS = [
  { loss: 2.5, learning_rate: 1e-3, epoch: 0.25, step: 1 },
  { eval_loss: 2.25, epoch: 0.25, step: 1 },
  { loss: NaN, learning_rate: 5e-4, epoch: 0.5, step: 2 },
];

function inFolder(use: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    use(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("jsonLinesCallback() writes a line a row, and a resumed run leaves out later steps", () => {
  inFolder((folder) => {
    const path = `${folder}/log.jsonl`;
    const log = jsonLinesCallback(path);
    log.onTrainBegin?.(PLAN, 0);
    ROWS.forEach((row) => log.onLog(row));
    Deno.writeTextFileSync(path, '{"loss": 1, "st', { append: true });
    assert.match(
      Deno.readTextFileSync(path),
      /^\{"loss":2.5,.*\n.*\n\{"loss":null,.*"step":2\}\n/,
    );
    const resumed = jsonLinesCallback(path);
    resumed.onTrainBegin?.(PLAN, 1);
    resumed.add({ question: "你好", step: 2 });
    assert.deepEqual(
      Deno.readTextFileSync(path).split("\n"),
      [
        JSON.stringify(ROWS[0]),
        JSON.stringify(ROWS[1]),
        '{"question":"你好","step":2}',
        "",
      ],
    );
    jsonLinesCallback(path).onTrainBegin?.(PLAN, 0);
    assert.equal(Deno.readTextFileSync(path), "");
  });
});

Deno.test("csvCallback() has one column a name, and a resumed run leaves out later steps", () => {
  inFolder((folder) => {
    const path = `${folder}/log.csv`;
    const log = csvCallback(path);
    log.onTrainBegin?.(PLAN, 0);
    ROWS.forEach((row) => log.onLog(row));
    assert.equal(
      Deno.readTextFileSync(path),
      "step,loss,learning_rate,epoch,eval_loss\n1,2.5,0.001,0.25,\n" +
        "1,,,0.25,2.25\n2,NaN,0.0005,0.5,\n",
    );
    const resumed = csvCallback(path);
    resumed.onTrainBegin?.(PLAN, 1);
    resumed.onLog({ 'eval_a,"b"': 1, step: 2 });
    resumed.onLog({ loss: 2, step: 3 });
    const again = csvCallback(path);
    again.onTrainBegin?.(PLAN, 3);
    again.onLog({ 'eval_a,"b"': 4, step: 4 });
    assert.equal(
      Deno.readTextFileSync(path),
      'step,loss,learning_rate,epoch,eval_loss,"eval_a,""b"""\n' +
        "1,2.5,0.001,0.25,,\n1,,,0.25,2.25,\n2,,,,,1\n3,2,,,,\n4,,,,,4\n",
    );
  });
});

/** The messages of an event file, without time, as field number and bytes. */
function eventsOf(bytes: Uint8Array): { step: number; fields: string }[] {
  const view = new DataView(bytes.buffer);
  const found = [];
  for (let at = 0; at < bytes.length;) {
    const length = Number(view.getBigUint64(at, true));
    const fields = [
      ...protobufFields(bytes.subarray(at + 12, at + 12 + length)),
    ];
    const step = fields.find(({ number }) => number === 2)?.value ?? 0n;
    const rest = fields.filter(({ number }) => number > 2)
      .map(({ value }) => new TextDecoder().decode(value as Uint8Array));
    found.push({ step: Number(step), fields: rest.join() });
    at += length + 16;
  }
  return found;
}

Deno.test("tensorBoardCallback() writes transformers' tags, texts, and where a run begins", () => {
  inFolder((folder) => {
    const options = { texts: { args: "{}" }, host: "here", now: () => 5000 };
    const log = tensorBoardCallback(`${folder}/runs/a`, options);
    log.onTrainBegin?.(PLAN, 4);
    ROWS.forEach((row) => log.onLog(row));
    log.addText("sample/1", "answer", 2);
    const [file] = [...Deno.readDirSync(`${folder}/runs/a`)];
    assert.equal(
      file?.name,
      `events.out.tfevents.0000000005.here.${Deno.pid}.0`,
    );
    const events = eventsOf(Deno.readFileSync(`${folder}/runs/a/${file.name}`));
    assert.deepEqual(events.map(({ step }) => step), [0, 5, 4, 1, 1, 2, 2]);
    const tags = events.map(({ fields }) =>
      fields.match(/(train|eval|args|sample)\/[a-z_0-9/]+/g)?.join(" ") ?? ""
    );
    assert.deepEqual(tags, [
      "",
      "",
      "args/text_summary",
      "train/loss train/learning_rate train/epoch",
      "eval/loss train/epoch",
      "train/loss train/learning_rate train/epoch",
      "sample/1/text_summary",
    ]);
    tensorBoardCallback(`${folder}/runs/a`, options).onTrainBegin?.(PLAN, 0);
    assert.equal([...Deno.readDirSync(`${folder}/runs/a`)].length, 2);
  });
});

Deno.test("a log that cannot be written is an InputError that names the file", () => {
  inFolder((folder) => {
    const path = `${folder}/missing/log`;
    for (
      const write of [
        () => jsonLinesCallback(path).onLog({ step: 1 }),
        () => csvCallback(path).onLog({ step: 1 }),
      ]
    ) {
      assert.throws(
        write,
        (error) =>
          error instanceof InputError && error.message.includes("missing"),
      );
    }
    Deno.writeTextFileSync(`${folder}/file`, "");
    assert.throws(
      () => tensorBoardCallback(`${folder}/file`).onLog({ step: 1 }),
      InputError,
    );
  });
});
