/**
 * A tokenizer folder that lives as long as one test: a copied file and settings
 * of the test's own.
 *
 * @module
 */

/** Calls `work` with a folder that holds a copy of the file `source` and `files` as JSON. */
export async function withTokenizer<T>(
  source: string,
  files: Readonly<Record<string, unknown>>,
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.copyFileSync(source, `${folder}/${source.split("/").at(-1)}`);
    for (const [name, content] of Object.entries(files)) {
      Deno.writeTextFileSync(`${folder}/${name}`, JSON.stringify(content));
    }
    return await work(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
