/**
 * The user's working directory when typing `deno task …`: Deno runs a task in the
 * project's folder and stores the user's in INIT_CWD. Only a folder inside the project
 * counts, because npm and outer tasks also set INIT_CWD for the programs they start.
 *
 * @module
 */

/** The folder that relative paths in flags are relative to, if it is not the working directory. */
export function userFolder(
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
