/**
 * Reads pickles of protocol 2 as data, never as code: global names are looked up
 * in the caller's table only, and only functions in that table are called.
 *
 * @module
 */

import { quoted } from "../input_error.ts";

/** A Python tuple. */
export class PickleTuple {
  /** Its items. */
  readonly items: readonly PickleValue[];

  /** Makes a tuple of `items`. */
  constructor(items: readonly PickleValue[]) {
    this.items = items;
  }
}

/** A name from the caller's table, which is never executed by itself. */
export class PickleGlobal {
  /** Module and name, as `torch.FloatStorage`. */
  readonly name: string;

  /** Stands for `name`. */
  constructor(name: string) {
    this.name = name;
  }
}

/** An object made by a function in the caller's table. */
export interface PickleObject {
  /** Distinguishes such objects from maps and tuples. */
  readonly kind: string;
}

/** Everything that a pickle can contain here: dicts become maps, lists arrays. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | PickleTuple
  | PickleGlobal
  | PickleObject;

/** Calls an allowed global with its arguments. */
export type PickleFunction = (args: readonly PickleValue[]) => PickleValue;

/** What a pickle may refer to. */
export interface UnpickleOptions {
  /**
   * Allowed globals by `module.name`: a function that may be called, or null
   * for a name only.
   */
  readonly globals: ReadonlyMap<string, PickleFunction | null>;
  /** Returns the object for a persistent id. */
  readonly persistent: (id: PickleValue) => PickleValue;
}

/**
 * Reads the one object in the pickle `bytes`.
 *
 * @throws {SyntaxError} when the pickle is damaged, or uses something that is not
 *   allowed; the message says what, and the caller adds the file's name.
 */
export function unpickle(
  bytes: Uint8Array,
  options: UnpickleOptions,
): PickleValue {
  return new Unpickler(bytes, options).run();
}

/**
 * Reads the `count` objects whose pickles follow each other from the start of
 * `bytes`, and tells where the last of them ends.
 *
 * @throws {SyntaxError} as {@linkcode unpickle} does.
 */
export function unpickleMany(
  bytes: Uint8Array,
  options: UnpickleOptions & { readonly count: number },
): { readonly objects: PickleValue[]; readonly end: number } {
  const objects: PickleValue[] = [];
  let end = 0;
  for (let index = 0; index < options.count; index++) {
    const unpickler = new Unpickler(bytes.subarray(end), options);
    objects.push(unpickler.run());
    end += unpickler.end;
  }
  return { objects, end };
}

const MARK = Symbol("mark");
const PROTOCOL = 0x80;
const STOP = 0x2e;

class Unpickler {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #options: UnpickleOptions;
  readonly #stack: (PickleValue | typeof MARK)[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #at = 0;

  constructor(bytes: Uint8Array, options: UnpickleOptions) {
    this.#bytes = bytes;
    this.#view = new DataView(
      bytes.buffer,
      bytes.byteOffset,
      bytes.byteLength,
    );
    this.#options = options;
  }

  /** The byte after what was read. */
  get end(): number {
    return this.#at;
  }

  run(): PickleValue {
    if (this.#byte() !== PROTOCOL || this.#byte() !== 2) {
      throw new SyntaxError("its pickle is not of protocol 2");
    }
    for (;;) {
      const opcode = this.#byte();
      if (opcode === STOP) return this.#pop();
      const isKnown = this.#literal(opcode) || this.#container(opcode) ||
        this.#reference(opcode);
      if (isKnown) continue;
      const shown = opcode.toString(16).padStart(2, "0");
      throw new SyntaxError(
        `its pickle uses the opcode 0x${shown} at byte ${
          this.#at - 1
        }, which no state dict needs`,
      );
    }
  }

  /** Numbers, strings and constants. */
  #literal(opcode: number): boolean {
    switch (opcode) {
      case 0x4e: // NONE
        return this.#push(null);
      case 0x88: // NEWTRUE
        return this.#push(true);
      case 0x89: // NEWFALSE
        return this.#push(false);
      case 0x4b: // BININT1
        return this.#push(this.#byte());
      case 0x4d: // BININT2
        return this.#push(this.#view.getUint16(this.#take(2), true));
      case 0x4a: // BININT
        return this.#push(this.#view.getInt32(this.#take(4), true));
      case 0x8a: // LONG1
        return this.#push(this.#long(this.#byte()));
      case 0x47: // BINFLOAT
        return this.#push(this.#view.getFloat64(this.#take(8)));
      case 0x58: // BINUNICODE
        return this.#push(
          this.#text(this.#view.getUint32(this.#take(4), true)),
        );
      case 0x55: // SHORT_BINSTRING
        return this.#push(this.#text(this.#byte()));
      default:
        return false;
    }
  }

  /** Tuples, lists and dicts. */
  #container(opcode: number): boolean {
    switch (opcode) {
      case 0x28: // MARK
        this.#stack.push(MARK);
        return true;
      case 0x29: // EMPTY_TUPLE
        return this.#push(new PickleTuple([]));
      case 0x5d: // EMPTY_LIST
        return this.#push([]);
      case 0x7d: // EMPTY_DICT
        return this.#push(new Map());
      case 0x74: // TUPLE
        return this.#push(new PickleTuple(this.#popToMark()));
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        return this.#push(new PickleTuple(this.#popMany(opcode - 0x84)));
      case 0x61: // APPEND
        return this.#append(this.#popMany(1));
      case 0x65: // APPENDS
        return this.#append(this.#popToMark());
      case 0x73: // SETITEM
        return this.#setItems(this.#popMany(2));
      case 0x75: // SETITEMS
        return this.#setItems(this.#popToMark());
      default:
        return false;
    }
  }

  /** The memo, and everything that refers to something outside the pickle. */
  #reference(opcode: number): boolean {
    switch (opcode) {
      case 0x71: // BINPUT
        return this.#remember(this.#byte());
      case 0x72: // LONG_BINPUT
        return this.#remember(this.#view.getUint32(this.#take(4), true));
      case 0x68: // BINGET
        return this.#recall(this.#byte());
      case 0x6a: // LONG_BINGET
        return this.#recall(this.#view.getUint32(this.#take(4), true));
      case 0x63: // GLOBAL
        return this.#global();
      case 0x51: // BINPERSID
        return this.#push(this.#options.persistent(this.#pop()));
      case 0x52: // REDUCE
        return this.#reduce();
      case 0x62: // BUILD
        return this.#build();
      default:
        return false;
    }
  }

  #push(value: PickleValue): true {
    this.#stack.push(value);
    return true;
  }

  /** Skips `count` bytes, and returns the position where they start. */
  #take(count: number): number {
    const start = this.#at;
    if (start + count > this.#bytes.length) {
      throw new SyntaxError("its pickle is cut short");
    }
    this.#at += count;
    return start;
  }

  #byte(): number {
    return this.#view.getUint8(this.#take(1));
  }

  #text(length: number): string {
    const start = this.#take(length);
    return decode(this.#bytes.subarray(start, start + length));
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw new SyntaxError("its pickle is cut short");
    const text = this.#text(end - this.#at);
    this.#at = end + 1;
    return text;
  }

  /** Little-endian two's complement. */
  #long(length: number): number | bigint {
    const start = this.#take(length);
    let value = 0n;
    for (let index = length - 1; index >= 0; index--) {
      value = value << 8n | BigInt(this.#bytes[start + index] ?? 0);
    }
    value = BigInt.asIntN(length * 8, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  #pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) {
      throw new SyntaxError("its pickle takes more from the stack than it has");
    }
    return value;
  }

  #popMany(count: number): PickleValue[] {
    return Array.from({ length: count }, () => this.#pop()).reverse();
  }

  #popToMark(): PickleValue[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) {
      throw new SyntaxError("its pickle takes more from the stack than it has");
    }
    return this.#stack.splice(mark).slice(1) as PickleValue[];
  }

  #top(): PickleValue {
    const value = this.#pop();
    this.#stack.push(value);
    return value;
  }

  #append(items: readonly PickleValue[]): true {
    const list = this.#top();
    if (!Array.isArray(list)) {
      throw new SyntaxError(
        "its pickle appends to something that is not a list",
      );
    }
    for (const item of items) list.push(item);
    return true;
  }

  #setItems(items: readonly PickleValue[]): true {
    const dict = this.#top();
    if (!(dict instanceof Map) || items.length % 2 !== 0) {
      throw new SyntaxError(
        "its pickle sets items of something that is not a dict",
      );
    }
    for (let index = 0; index < items.length; index += 2) {
      dict.set(items[index] ?? null, items[index + 1] ?? null);
    }
    return true;
  }

  #remember(index: number): true {
    this.#memo.set(index, this.#top());
    return true;
  }

  #recall(index: number): true {
    const value = this.#memo.get(index);
    if (value === undefined) {
      throw new SyntaxError(`its pickle recalls ${index}, which it never kept`);
    }
    this.#stack.push(value);
    return true;
  }

  #global(): true {
    const name = `${this.#line()}.${this.#line()}`;
    if (!this.#options.globals.has(name)) {
      throw new SyntaxError(
        `its pickle names ${
          quoted(name)
        }, which is not on the list of what tensors need, so it is not loaded`,
      );
    }
    this.#stack.push(new PickleGlobal(name));
    return true;
  }

  #reduce(): true {
    const args = this.#pop();
    const callee = this.#pop();
    const call = callee instanceof PickleGlobal
      ? this.#options.globals.get(callee.name)
      : undefined;
    if (!call || !(args instanceof PickleTuple)) {
      const name = callee instanceof PickleGlobal ? callee.name : "a value";
      throw new SyntaxError(`its pickle calls ${name}, which is not allowed`);
    }
    this.#stack.push(call(args.items));
    return true;
  }

  /** The attributes of an OrderedDict (`_metadata`) say nothing about its tensors. */
  #build(): true {
    this.#pop();
    if (this.#top() instanceof Map) return true;
    throw new SyntaxError(
      "its pickle sets attributes of something that is not a dict",
    );
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(bytes);
  } catch (cause) {
    throw new SyntaxError("its pickle has a text that is not UTF-8", { cause });
  }
}
