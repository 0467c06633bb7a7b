/**
 * How much memory is free, from the files in which Linux tells it. They are read with
 * libc: Deno reads them only for programs that may do everything.
 *
 * @module
 */

const LIBC = {
  open: { parameters: ["buffer", "i32"], result: "i32" }, // path, flags
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" }, // file, buffer, length
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The machine's free memory, and limit and use of the container. */
const SOURCES: readonly (readonly [path: string, number: RegExp])[] = [
  ["/proc/meminfo", /^MemAvailable: +(\d+) kB$/m],
  // "max" where there is no limit
  ["/sys/fs/cgroup/memory.max", /^(\d+)$/m],
  ["/sys/fs/cgroup/memory.current", /^(\d+)$/m],
];

/**
 * Bytes that are free on this machine, or in the container where that has less;
 * `null` on other systems than Linux.
 */
export function freeMemory(): number | null {
  if (Deno.build.os !== "linux") return null;
  const libc = Deno.dlopen("libc.so.6", LIBC);
  const [free = null, limit = null, used = null] = SOURCES.map(
    ([path, pattern]) => {
      const found = pattern.exec(textOf(libc.symbols, path))?.[1];
      return found === undefined ? null : Number(found);
    },
  );
  libc.close();
  if (free === null) return null;
  const left = limit === null || used === null ? Infinity : limit - used;
  return Math.max(0, Math.min(1024 * free, left));
}

/** The first 8 KiB of the file at `path`; empty where there is none. */
function textOf(
  libc: Deno.DynamicLibrary<typeof LIBC>["symbols"],
  path: string,
): string {
  const file = libc.open(new TextEncoder().encode(`${path}\0`), 0);
  if (file < 0) return "";
  const bytes = new Uint8Array(8192);
  const length = Number(libc.read(file, bytes, BigInt(bytes.length)));
  libc.close(file);
  return new TextDecoder().decode(bytes.subarray(0, Math.max(0, length)));
}
