/**
 * TensorBoard's event files: Protocol Buffers messages of `tensorflow.Event`, each
 * in a TFRecord, which has a masked CRC32C of its length and of its bytes.
 * Scalars and texts are written, nothing is read.
 *
 * @module
 */

import { protobufMessage, type WrittenField } from "./protobuf.ts";

/** The Castagnoli polynomial, reflected. */
const POLYNOMIAL = 0x82f63b78;
const MASK_DELTA = 0xa282ead8;
const STRING_TYPE = 7;
const SESSION_START = 1;

/** What an event says: one of a file's version, a start, scalars or texts. */
export type EventContent =
  | { readonly fileVersion: string }
  /** A run begins (again) at this step: later steps of before do not count. */
  | { readonly start: true }
  /** Numbers by tag. */
  | { readonly scalars: Readonly<Record<string, number>> }
  /** Markdown by tag. */
  | { readonly texts: Readonly<Record<string, string>> };

/** An event of an event file. */
export type TensorBoardEvent = EventContent & {
  /** When it happened, in seconds since 1970. */
  readonly wallTime: number;
  /** The step that it belongs to. */
  readonly step: number;
};

/** The event as the bytes of one TFRecord. */
export function eventRecord(event: TensorBoardEvent): Uint8Array {
  const { wallTime, step } = event;
  return tfRecord(protobufMessage([
    { number: 1, double: wallTime },
    ...step === 0 ? [] : [{ number: 2, value: step }],
    contentField(event),
  ]));
}

function contentField(event: EventContent): WrittenField {
  if ("fileVersion" in event) {
    return { number: 3, value: utf8(event.fileVersion) };
  }
  if ("start" in event) {
    return {
      number: 7,
      value: protobufMessage([{ number: 1, value: SESSION_START }]),
    };
  }
  const values = "scalars" in event
    ? Object.entries(event.scalars).map(([tag, value]) =>
      protobufMessage([{ number: 1, value: utf8(tag) }, {
        number: 2,
        float: value,
      }])
    )
    : Object.entries(event.texts).map(([tag, text]) => textValue(tag, text));
  return {
    number: 5,
    value: protobufMessage(values.map((value) => ({ number: 1, value }))),
  };
}

/** A `Summary.Value` of the text plugin, whose tensor is a list of one text. */
function textValue(tag: string, text: string): Uint8Array {
  const plugin = protobufMessage([{ number: 1, value: utf8("text") }]);
  const shape = protobufMessage([{
    number: 2,
    value: protobufMessage([{ number: 1, value: 1 }]),
  }]);
  return protobufMessage([
    { number: 1, value: utf8(tag) },
    {
      number: 8,
      value: protobufMessage([
        { number: 1, value: STRING_TYPE },
        { number: 2, value: shape },
        { number: 8, value: utf8(text) },
      ]),
    },
    { number: 9, value: protobufMessage([{ number: 1, value: plugin }]) },
  ]);
}

/** `bytes` with their length before them, and a checksum of each. */
export function tfRecord(bytes: Uint8Array): Uint8Array {
  const record = new Uint8Array(bytes.length + 16);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(bytes.length), true);
  view.setUint32(8, maskedCrc32c(record.subarray(0, 8)), true);
  record.set(bytes, 12);
  view.setUint32(12 + bytes.length, maskedCrc32c(bytes), true);
  return record;
}

/** tensorflow, `tsl/lib/hash/crc32c.h`: rotated and shifted, as a record may hold checksums. */
function maskedCrc32c(bytes: Uint8Array): number {
  const sum = crc32c(bytes);
  return (((sum >>> 15) | (sum << 17)) + MASK_DELTA) >>> 0;
}

/** The CRC32C of `bytes` (RFC 3720, appendix B.4). */
export function crc32c(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) {
      sum = (sum >>> 1) ^ (sum & 1 ? POLYNOMIAL : 0);
    }
  }
  return ~sum >>> 0;
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
