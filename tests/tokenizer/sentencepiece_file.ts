/**
 * Writes small tokenizer.model files for tests.
 *
 * @module
 */

/** A piece: its text, its score and the number of its type (1 for a normal one). */
export type WrittenPiece = readonly [text: string, score: number, type: number];

/** The bytes of a number of Protocol Buffers. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) {
    bytes.push(0x80 | (value % 0x80));
  }
  return [...bytes, value];
}

/** A field that holds bytes. */
export function field(number: number, content: readonly number[]): number[] {
  return [...varint(number * 8 + 2), ...varint(content.length), ...content];
}

/** A field that holds a number. */
export function numberField(number: number, value: number): number[] {
  return [...varint(number * 8), ...varint(value)];
}

/** A piece as a field of the model. */
export function pieceField([text, score, type]: WrittenPiece): number[] {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setFloat32(0, score, true);
  return field(1, [
    ...field(1, [...new TextEncoder().encode(text)]),
    ...[0x15, ...bytes],
    ...numberField(3, type),
  ]);
}

/** A model of byte pairs with byte fallback, of Llama's kind. */
export function llamaModel(pieces: readonly WrittenPiece[]): Uint8Array {
  const trainer = [...numberField(3, 2), ...numberField(35, 1)];
  const normalizer = numberField(4, 0);
  return Uint8Array.from([
    ...pieces.flatMap(pieceField),
    ...field(2, trainer),
    ...field(3, normalizer),
  ]);
}

/** The first 259 pieces of a model of Llama's kind. */
export function llamaStart(): WrittenPiece[] {
  const hex = (byte: number) =>
    byte.toString(16).toUpperCase().padStart(2, "0");
  return [
    ["<unk>", 0, 2],
    ["<s>", 0, 3],
    ["</s>", 0, 3],
    ...Array.from(
      { length: 256 },
      (_, byte): WrittenPiece => [`<0x${hex(byte)}>`, 0, 6],
    ),
  ];
}
