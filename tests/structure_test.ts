/**
 * Rules about the whole tree: sizes, one file per package, a doc comment on top,
 * no export that nobody uses, and nothing in the text that is true on one machine
 * only. Rules about a single file are in `lint_plugin.ts`.
 *
 * @module
 */

import { strict as assert } from "node:assert";

const ROOT = new URL("../", import.meta.url);
const MAX_FILE_LINES = 400;

/** Every file that git tracks, or would after `git add .`. */
function projectFiles(): string[] {
  const { code, stdout, stderr } = new Deno.Command("git", {
    args: ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    cwd: ROOT,
  }).outputSync();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  const names = new TextDecoder().decode(stdout).split("\0");
  return [...new Set(names)].filter((it) => it !== "" && isFile(it)).sort();
}

function isFile(path: string): boolean {
  try {
    return Deno.lstatSync(new URL(encodeURI(path), ROOT)).isFile;
  } catch {
    return false; // deleted but still in git's index
  }
}

function read(path: string): string {
  return Deno.readTextFileSync(new URL(encodeURI(path), ROOT));
}

const FILES = projectFiles();
const SOURCES = FILES.filter((it) => it.endsWith(".ts"));

Deno.test("every source file has at most 400 lines", () => {
  const long = SOURCES
    .map((path) => ({ path, lines: read(path).split("\n").length - 1 }))
    .filter(({ lines }) => lines > MAX_FILE_LINES);
  assert.deepEqual(long, []);
});

Deno.test("every source file begins with a module doc comment", () => {
  const bare = SOURCES.filter((path) => {
    const comment = /^(?:#!.*\n)?\/\*\*([\s\S]*?)\*\//.exec(read(path))?.[1];
    return comment === undefined || !/@module\b/.test(comment);
  });
  assert.deepEqual(bare, []);
});

Deno.test("every third-party package is imported in exactly one file", () => {
  const importers = new Map<string, Set<string>>();
  const specifier =
    /^\s*(?:import|export|\} from)[^;]*?["']npm:((?:@[\w.-]+\/)?[\w.-]+)@/gm;
  const sources = SOURCES.filter((path) => !path.startsWith("tests/lint_"));
  for (const path of sources) {
    for (const [, name = ""] of read(path).matchAll(specifier)) {
      importers.set(name, (importers.get(name) ?? new Set()).add(path));
    }
  }
  const shared = [...importers].filter(([, paths]) => paths.size > 1)
    .map(([name, paths]) => `${name}: ${[...paths].join(", ")}`);
  assert.deepEqual(shared, []);
});

Deno.test("every exported function, class and constant is public or used by another file", () => {
  const entries: string[] = Object.values(
    JSON.parse(read("deno.json")).exports,
  );
  const words = SOURCES
    .filter((path) =>
      !path.endsWith("/mod.ts") || entries.includes(`./${path}`)
    )
    .map((path) => ({ path, names: new Set(read(path).match(/\w+/g)) }));
  const dead = SOURCES.flatMap((path) => {
    const declared = read(path).matchAll(
      /^export (?:abstract |async )*(?:function\*?|const|class) (\w+)/gm,
    );
    return [...declared].map(([, name = ""]) => name)
      .filter((name) =>
        !words.some((other) => other.path !== path && other.names.has(name))
      )
      .map((name) => `${path}: ${name}`);
  });
  assert.deepEqual(dead, []);
});

/** The lines of all text files that match, as `path:line: text`. */
function linesThatMatch(pattern: RegExp): string[] {
  return FILES.flatMap((path) => {
    const text = read(path);
    if (text.includes("\0") || !pattern.test(text)) return [];
    return text.split("\n").flatMap((line, index) =>
      pattern.test(line) ? [`${path}:${index + 1}: ${line.slice(0, 120)}`] : []
    );
  });
}

// the names are put together here, so that this file does not hold them itself
Deno.test("no text names the host of a package registry", () => {
  const hosts = [
    ["pypi", "org"],
    ["pythonhosted", "org"],
    ["download.pytorch", "org"],
    ["registry.npmjs", "org"],
    ["npmjs", "com"],
    ["jsr", "io"],
    ["esm", "sh"],
    ["unpkg", "com"],
    ["crates", "io"],
  ].map((parts) => parts.join("\\."));
  const pattern = new RegExp(`\\b(${hosts.join("|")})\\b`);
  assert.deepEqual(linesThatMatch(pattern), []);
});

Deno.test("no text names a path of one machine", () => {
  const folders = ["work", "farm", "root", "home", "Users"].join("|");
  const pattern = new RegExp(`(^|[^A-Za-z0-9_.])/(${folders})/`, "m");
  assert.deepEqual(linesThatMatch(pattern), []);
});
