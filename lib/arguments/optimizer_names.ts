/**
 * Names of optimizers that compute the same formula as one here, with moments in
 * fewer bits, in paged memory or by another kernel. They are read as that one.
 *
 * @module
 */

function all(names: string, here: string): [string, string][] {
  return names.split(" ").map((name) => [name, here]);
}

/** What each name is read as. */
export const OPTIMIZER_SYNONYMS: Readonly<Record<string, string>> = Object
  .fromEntries([
    ...all(
      "adamw adamw_hf adamw_apex_fused adamw_torch_xla adamw_torch_npu_fused " +
        "adamw_anyprecision adamw_torch_4bit adamw_torch_8bit adamw_bnb_8bit " +
        "adamw_8bit paged_adamw paged_adamw_32bit paged_adamw_8bit",
      "adamw_torch_fused",
    ),
    ...all("lion_8bit paged_lion_32bit paged_lion_8bit", "lion_32bit"),
    ...all("rmsprop_bnb rmsprop_bnb_8bit rmsprop_bnb_32bit", "rmsprop"),
  ]);
