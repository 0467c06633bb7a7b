/**
 * Event files have the bytes that TensorBoard's own writer writes.
 *
 * @module
 */
import { strict as assert } from "node:assert";
import {
  crc32c,
  eventRecord,
  type TensorBoardEvent,
  tfRecord,
} from "../../lib/formats/event_file.ts";

const EVENTS: readonly TensorBoardEvent[] = [
  { wallTime: 1700000000.25, step: 0, fileVersion: "brain.Event:2" },
  { wallTime: 1700000000.25, step: 1, start: true },
  {
    wallTime: 1700000000.25,
    step: 0,
    texts: { "args/text_summary": "| a | 学习率 |" },
  },
  {
    wallTime: 1700000001.5,
    step: 300,
    scalars: {
      "train/loss": 4.59387,
      "train/learning_rate": 1e-3,
      "train/grad_norm": NaN,
    },
  },
  { wallTime: 1700000002, step: 300, scalars: { "eval/loss": 2.5 } },
];

Deno.test("eventRecord() writes the bytes of TensorBoard's writer: version, start, text, scalars", () => {
  const expected = Deno.readFileSync(
    new URL("../fixtures/reports/events.bin", import.meta.url),
  );
  const written = EVENTS.map(eventRecord).flatMap((bytes) => [...bytes]);
  assert.deepEqual(written, [...expected]);
});

Deno.test("crc32c() computes the examples of RFC 3720", () => {
  const bytes = (make: (at: number) => number): Uint8Array =>
    Uint8Array.from({ length: 32 }, (_, at) => make(at));
  assert.equal(crc32c(bytes(() => 0)), 0x8a9136aa);
  assert.equal(crc32c(bytes(() => 0xff)), 0x62a8ab43);
  assert.equal(crc32c(bytes((at) => at)), 0x46dd794e);
  assert.equal(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
});

Deno.test("tfRecord() of nothing has a length of 0 and two checksums", () => {
  const record = tfRecord(new Uint8Array());
  assert.equal(record.length, 16);
  assert.deepEqual([...record.subarray(0, 8)], [0, 0, 0, 0, 0, 0, 0, 0]);
});
