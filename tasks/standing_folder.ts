/**
 * Where the user stood when typing `deno task …`: Deno runs a task in the project's
 * folder and keeps the place in INIT_CWD. Only a folder inside the project counts,
 * since npm and outer tasks leave their own INIT_CWD to all that they start.
 *
 * @module
 */

/** Where relative paths in flags start, when that is not the working directory. */
export function standingFolder(
  root: string = new URL("../", import.meta.url).pathname,
): string | undefined {
  const asked = Deno.env.get("INIT_CWD");
  if (!asked) return undefined;
  try {
    const project = Deno.realPathSync(root);
    const folder = Deno.realPathSync(asked);
    const isInside = folder.startsWith(`${project}/`);
    return isInside && Deno.cwd() === project ? folder : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
