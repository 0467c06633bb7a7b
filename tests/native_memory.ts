/**
 * The bytes that the process has in use in glibc's heap, which hold libtorch's tensors
 * and the backing stores of JavaScript's buffers. Unlike resident memory they do not
 * depend on the holes between them.
 *
 * @module
 */

const FIELDS = 10;
/** Place of `uordblks` in `struct mallinfo2`. */
const IN_USE = 7;

const SYMBOLS = {
  mallinfo2: {
    parameters: [],
    result: { struct: Array<"usize">(FIELDS).fill("usize") },
  },
} as const satisfies Deno.ForeignLibraryInterface;

function open(): Deno.DynamicLibrary<typeof SYMBOLS> {
  return Deno.dlopen("libc.so.6", SYMBOLS);
}

function hasMallinfo(): boolean {
  if (Deno.build.os !== "linux") return false;
  try {
    open().close();
    return true;
  } catch {
    return false;
  }
}

/** How many bytes are in use in glibc's heap; memory that was mapped is not counted. */
export function bytesInUse(): number {
  const libc = open();
  const info = libc.symbols.mallinfo2();
  libc.close();
  return Number(new BigUint64Array(info.slice().buffer)[IN_USE]!);
}

/** Whether this system has the function that {@linkcode bytesInUse} calls. */
export const CAN_COUNT_BYTES: boolean = hasMallinfo();
