/**
 * What one setting is: its kind, its default, what it is for, and which of its
 * values work. A table of settings drives flags, help, files, checks and the
 * TypeScript type of the result; nothing is said twice.
 *
 * @module
 */

/** The TypeScript type that each kind of setting has. */
export interface SettingKinds {
  /** Any text. */
  readonly str: string;
  /** A whole number. */
  readonly int: number;
  /** A number; `nan` and `inf` are read as Python reads them. */
  readonly float: number;
  /** true or false; one with a `null` default needs its value spelled out. */
  readonly bool: boolean;
  /** One of `choices`. */
  readonly choice: string | boolean;
  /** One or more names, apart or joined by commas. */
  readonly list: readonly string[];
  /** One or more whole numbers, apart or joined by commas. */
  readonly ints: readonly number[];
  /** As `list`, or one regular expression, or "all-linear", as one string. */
  readonly targets: string | readonly string[];
  /** A JSON object from names (or patterns) to whole numbers. */
  readonly numbers: Readonly<Record<string, number>>;
  /** Any text on the command line, any value in a file; for what is not used. */
  readonly any: unknown;
}

/** One row of a settings table. */
export interface Setting {
  /** How the value is read. */
  readonly kind: keyof SettingKinds;
  /** The value when none is given; `null` lets a user say `none`. */
  readonly default: unknown;
  /** Lets a user say `none` where the default is something else. */
  readonly nullable?: true;
  /** One sentence without its full stop, shown by `--help`. */
  readonly help: string;
  /**
   * A `str` that is a path, or a path or a word for true or false; a flag's is
   * relative to where the user stands.
   */
  readonly isPath?: true | "or switch";
  /** The legal values of a `choice`. */
  readonly choices?: readonly (string | boolean)[];
  /** More names, without dashes. */
  readonly aliases?: readonly string[];
  /**
   * The values that work, where not all legal ones do. With "default" the
   * setting is only recognised, and any other value is refused by name.
   */
  readonly accepts?: "default" | readonly unknown[];
  /** Why a value is refused, as the end of "not supported yet, …". */
  readonly reason?: string;
  /**
   * Any value is accepted and changes nothing, which is told to the user; with
   * "on a CPU" a value other than false is refused on other devices.
   */
  readonly noEffect?: true | "on a CPU";
  /** What a flag of transformers 4 is called today. */
  readonly today?: string;
}

/** Settings by their snake_case names. */
export type SettingsTable = Readonly<Record<string, Setting>>;

/**
 * A setting's type before `null`: what works, what is legal, or all of its kind.
 *
 * @internal
 */
type BaseValue<S extends Setting> = S extends
  { readonly accepts: readonly (infer A)[] } ? A
  : S extends { readonly choices: readonly (infer C)[] } ? C
  : SettingKinds[S["kind"]];

/** The type of one setting's value. */
export type SettingValue<S extends Setting> =
  | BaseValue<S>
  | (S extends { readonly default: null } | { readonly nullable: true } ? null
    : never);

/** The type of all values of a table, by name. */
export type SettingsOf<T extends SettingsTable> = {
  readonly [N in keyof T]: SettingValue<T[N]>;
};

/** A titled table, as the help shows it. */
export interface SettingsGroup {
  /** Heading in the help. */
  readonly title: string;
  /** The settings. */
  readonly table: SettingsTable;
}
