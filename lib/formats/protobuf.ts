/**
 * The wire format of Protocol Buffers: the fields of a message, one after the
 * other, from bytes that may hold anything, and back. It knows no schema; whoever reads a
 * message says which field is what.
 *
 * @module
 */

/** A field of a message. */
export interface ProtobufField {
  /** The field's number in the schema. */
  readonly number: number;
  /**
   * What it holds: a whole number (as 64 bits without a sign), eight or four raw
   * bytes, or the bytes of a text, a message or a packed list.
   */
  readonly value: bigint | Uint8Array;
  /** How it is written: a number, 8 bytes, 4 bytes, or bytes with their length. */
  readonly kind: "number" | "fixed64" | "bytes" | "fixed32";
}

const KINDS = ["number", "fixed64", "bytes", , , "fixed32"] as const;
const LONGEST_NUMBER = 10;

/**
 * The fields of a message in the order of the bytes; nothing is copied.
 *
 * @throws {SyntaxError} whose message says what is wrong at which byte.
 */
export function* protobufFields(bytes: Uint8Array): Generator<ProtobufField> {
  let at = 0;
  const take = (length: number): Uint8Array => {
    if (length > bytes.length - at) {
      throw new SyntaxError(
        `a field at byte ${at} has ${length} bytes and ${
          bytes.length - at
        } are left, the file is cut short or broken`,
      );
    }
    at += length;
    return bytes.subarray(at - length, at);
  };
  const takeNumber = (): bigint => {
    const start = at;
    let value = 0n;
    for (let i = 0; i < LONGEST_NUMBER && at < bytes.length; i++) {
      const byte = bytes[at++]!;
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new SyntaxError(
      `the number at byte ${start} does not end, the file is cut short or broken`,
    );
  };
  // tags and lengths are often one byte
  const takeSmall = (): number => {
    const byte = bytes[at];
    if (byte === undefined || byte >= 0x80) return Number(takeNumber());
    at++;
    return byte;
  };
  while (at < bytes.length) {
    const start = at;
    const tag = takeSmall();
    const kind = KINDS[tag % 8];
    const number = Math.floor(tag / 8);
    if (kind === undefined || number < 1 || number >= 2 ** 29) {
      throw new SyntaxError(
        `there is no field at byte ${start}, a Protocol Buffers message is needed`,
      );
    }
    if (kind === "number") yield { number, kind, value: takeNumber() };
    else if (kind === "fixed64") yield { number, kind, value: take(8) };
    else if (kind === "fixed32") yield { number, kind, value: take(4) };
    else yield { number, kind, value: take(takeSmall()) };
  }
}

/** A field to write: a whole number, bytes, or a number of 32 or 64 bits. */
export type WrittenField =
  | { readonly number: number; readonly value: number | Uint8Array }
  | { readonly number: number; readonly float: number }
  | { readonly number: number; readonly double: number };

/** The bytes of a message with these fields, in their order. */
export function protobufMessage(fields: Iterable<WrittenField>): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const field of fields) {
    const { number } = field;
    if ("float" in field) {
      const bytes = new Uint8Array(4);
      new DataView(bytes.buffer).setFloat32(0, field.float, true);
      parts.push(writtenNumber(number * 8 + KINDS.indexOf("fixed32")), bytes);
    } else if ("double" in field) {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setFloat64(0, field.double, true);
      parts.push(writtenNumber(number * 8 + KINDS.indexOf("fixed64")), bytes);
    } else if (typeof field.value === "number") {
      parts.push(writtenNumber(number * 8), writtenNumber(field.value));
    } else {
      parts.push(
        writtenNumber(number * 8 + KINDS.indexOf("bytes")),
        writtenNumber(field.value.length),
        field.value,
      );
    }
  }
  const message = new Uint8Array(
    parts.reduce((sum, part) => sum + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    message.set(part, at);
    at += part.length;
  }
  return message;
}

/** Seven bits a byte, the lowest first; below 0 as 64 bits. */
function writtenNumber(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Uint8Array.from([...bytes, Number(rest)]);
}
