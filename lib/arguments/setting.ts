/**
 * The description of one setting: its kind, its default, its help text, and which
 * of its values are supported. Flags, help, files, checks and the TypeScript type
 * of the result are all derived from tables of settings, so that nothing is
 * written twice.
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
  /** true or false; where the default is `null`, the value must be spelled out. */
  readonly bool: boolean;
  /** One of `choices`. */
  readonly choice: string | boolean;
  /** One or more names, separate or joined by commas. */
  readonly list: readonly string[];
  /** One or more whole numbers, separate or joined by commas. */
  readonly ints: readonly number[];
  /** One or more numbers, separate or joined by commas. */
  readonly floats: readonly number[];
  /** One path, or several as separate words. */
  readonly paths: string | readonly string[];
  /** As `list`, or one regular expression, or "all-linear", as one string. */
  readonly targets: string | readonly string[];
  /** A JSON object from names (or patterns) to whole numbers. */
  readonly numbers: Readonly<Record<string, number>>;
  /** A JSON object from names to numbers or text. */
  readonly fields: Readonly<Record<string, number | string>>;
  /** As `ints`, or a JSON object from names to lists of whole numbers. */
  readonly tokens:
    | readonly number[]
    | Readonly<Record<string, readonly number[]>>;
  /** Any text on the command line, any value in a file; for settings that are not used. */
  readonly any: unknown;
}

/** One row of a settings table. */
export interface Setting {
  /** How the value is read. */
  readonly kind: keyof SettingKinds;
  /** The value when none is given; if it is `null`, users may write `none`. */
  readonly default: unknown;
  /** Whether an `int`, or a number in `numbers`, may have a fraction. */
  readonly fractions?: true;
  /** Lets users write `none` although the default is another value. */
  readonly nullable?: true;
  /** One sentence without a full stop, shown by `--help`. */
  readonly help: string;
  /**
   * A `str` that is a path, or a path or a word for true or false. In a flag, it
   * is relative to the user's working directory.
   */
  readonly isPath?: true | "or switch";
  /** The valid values of a `choice`. */
  readonly choices?: readonly (string | boolean)[];
  /** What a `bool` may be besides true and false. */
  readonly otherValues?: readonly string[];
  /** Texts that are valid besides `choices`, which names one of them. */
  readonly likeChoice?: RegExp;
  /** Other names of the setting, without dashes. */
  readonly aliases?: readonly string[];
  /**
   * The supported values, where these are not all valid ones. With "default", any
   * value other than the default is refused by name.
   */
  readonly accepts?: "default" | readonly unknown[];
  /** Values that are read as another one, which is told to the user. */
  readonly synonyms?: Readonly<Record<string, string>>;
  /** Why a value is refused: the end of the sentence "not supported yet, …". */
  readonly reason?: string;
  /**
   * Any value is accepted and has no effect, which is reported to the user; with
   * "on a CPU", a value other than false is refused on other devices.
   */
  readonly noEffect?: true | "on a CPU";
  /** The name in transformers 5, for a flag of transformers 4. */
  readonly today?: string;
  /** The value there of a flag that was a switch. */
  readonly todayValue?: string;
}

/** Settings by their snake_case names. */
export type SettingsTable = Readonly<Record<string, Setting>>;

/**
 * A setting's type without `null`: its supported values, its valid values, or all
 * of its kind.
 *
 * @internal
 */
type BaseValue<S extends Setting> = S extends
  { readonly accepts: readonly (infer A)[] } ? A
  : S extends { readonly choices: readonly (infer C)[] } ? C
  : S extends { readonly otherValues: readonly (infer O)[] } ? boolean | O
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

/** A table with a title, as the help shows it. */
export interface SettingsGroup {
  /** Heading in the help. */
  readonly title: string;
  /** The settings. */
  readonly table: SettingsTable;
}
