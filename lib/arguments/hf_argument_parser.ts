/**
 * HfArgumentParser: reads one or several settings tables from flags, a settings
 * file, or plain data, and returns typed values. Flags behave as in transformers'
 * `hf_argparser.py`; in addition, unknown names get a "did you mean", optional
 * values can be `none`, and all problems are reported at once.
 *
 * @module
 */
import { isAbsolute, join } from "node:path";
import { InputError, quoted } from "../input_error.ts";
import { findFlags } from "./argparse_flags.ts";
import {
  dashed,
  flagGroups,
  type HelpOptions,
  isUsable,
  layoutOf,
  rowsOf,
} from "./help_layout.ts";
import {
  closestName,
  describeOtherName,
  otherName,
  type OtherNames,
} from "./other_names.ts";
import type { Setting, SettingsGroup, SettingsOf } from "./setting.ts";
import {
  isSettingsFile,
  readSettingsFile,
  type SettingsEntry,
} from "./settings_file.ts";
import {
  type FoundStrings,
  readJson,
  readStrings,
  refusal,
  withPaths,
} from "./setting_value.ts";

/** The values of each group's table, in the order of the groups. */
export type Dataclasses<G extends readonly SettingsGroup[]> = {
  readonly [I in keyof G]: SettingsOf<G[I]["table"]>;
};

/** The result of reading; mistakes of the user are in `problems`, nothing is thrown. */
export interface ArgumentsReading<G extends readonly SettingsGroup[]> {
  /** One object per group; a value that could not be read has its default. */
  readonly dataclasses: Dataclasses<G>;
  /** The settings that were given, with the user's spelling of each. */
  readonly given: ReadonlyMap<string, string>;
  /** The settings file before the flags, or the default file that was read instead. */
  readonly file: string | undefined;
  /** All problems, one sentence each. */
  readonly problems: readonly string[];
}

/** The user asked for help; `help` is the text to print. */
export interface HelpRequest {
  /** The whole help text. */
  readonly help: string;
}

/** Options of {@linkcode HfArgumentParser}. */
export interface HfArgumentParserOptions extends HelpOptions {
  /**
   * The folder that relative paths in flags are relative to. Default: the
   * working directory.
   */
  readonly folder?: string;
  /** The names that other tools give to the settings; they get an answer of their own. */
  readonly otherNames?: OtherNames;
  /** A settings file for command lines that name none. */
  readonly defaultFile?: {
    /** Its path. */
    readonly path: string;
    /** It is not read when a flag gives one of these settings. */
    readonly unlessGiven: readonly string[];
  };
}

/** Parses flags, files and plain data with the help of settings tables. */
export class HfArgumentParser<const G extends readonly SettingsGroup[]> {
  readonly #groups: G;
  readonly #settings = new Map<string, Setting>();
  readonly #nameOf = new Map<string, string>();
  readonly #options: HfArgumentParserOptions;

  /**
   * Makes a parser for the tables of `groups`.
   *
   * @throws {TypeError} when two settings have the same name.
   */
  constructor(groups: G, options: HfArgumentParserOptions = {}) {
    this.#groups = groups;
    this.#options = options;
    for (const [name, setting] of groups.flatMap(rowsOf)) {
      this.#settings.set(name, setting);
      for (const spelling of [name, ...setting.aliases ?? []]) {
        if (this.#nameOf.has(spelling)) {
          throw new TypeError(`Cannot add setting "${spelling}" twice`);
        }
        this.#nameOf.set(spelling, name);
      }
    }
  }

  /**
   * Parses `args`: an optional settings file first, then flags, which override
   * it.
   * Returns one typed object per group, or the help when `-h` was given.
   *
   * @throws {InputError} with all problems and exit code 2.
   */
  parseArgsIntoDataclasses(
    args: readonly string[],
  ): Dataclasses<G> | HelpRequest {
    const reading = this.read(args);
    if ("help" in reading) return reading;
    throwProblems(reading.problems);
    return reading.dataclasses;
  }

  /**
   * Parses plain data, such as the content of a JSON file; unknown names and
   * wrong types are problems.
   *
   * @throws {InputError} with all problems and exit code 2.
   */
  parseDict(values: Readonly<Record<string, unknown>>): Dataclasses<G> {
    const draft = new Draft();
    const entries = Object.entries(values)
      .map(([key, value]) => ({ key, value }));
    this.#addEntries(draft, { entries, source: undefined });
    const reading = this.#finish(draft);
    throwProblems(reading.problems);
    return reading.dataclasses;
  }

  /** Like {@linkcode parseArgsIntoDataclasses}, but returns the problems. */
  read(args: readonly string[]): ArgumentsReading<G> | HelpRequest {
    const draft = new Draft();
    const [first] = args;
    const hasFile = first !== undefined && !first.startsWith("-");
    const flags = this.#answerOtherNames(draft, hasFile ? args.slice(1) : args);
    // users also ask for help when their file or flags are wrong
    const found = draft.attempt(() =>
      findFlags(
        flagGroups(this.#groups, this.#options.sections),
        flags,
        layoutOf(this.#groups, this.#options),
      )
    );
    if (found !== undefined && "help" in found) return found;
    const given = found?.given ?? new Map<string, FoundStrings>();
    draft.file = hasFile
      ? this.#fromFolder(first)
      : this.#defaultFile([...given.keys(), ...draft.answered]);
    if (draft.file !== undefined) this.#addFile(draft, draft.file);
    for (const [name, strings] of given) {
      this.#addStrings(draft, { name, strings });
    }
    this.#addUnknown(draft, found?.unknown ?? []);
    return this.#finish(draft);
  }

  #defaultFile(given: readonly string[]): string | undefined {
    const { defaultFile } = this.#options;
    const isLeftOut = defaultFile?.unlessGiven
      .some((name) => given.includes(name));
    return isLeftOut ? undefined : defaultFile?.path;
  }

  /** Removes flags with other tools' names from `args`, and answers them. */
  #answerOtherNames(draft: Draft, args: readonly string[]): string[] {
    const { otherNames = {} } = this.#options;
    const kept: string[] = [];
    let isDropping = false;
    for (const word of args) {
      const isFlag = word.startsWith("--") || word === "-h";
      if (!isFlag) {
        if (!isDropping) kept.push(word);
        continue;
      }
      const [written = "", ...value] = word.split("=");
      const other = otherName(plainName(written), otherNames);
      isDropping = other !== undefined && !("sameAs" in other);
      if (other === undefined) kept.push(word);
      else if ("sameAs" in other) {
        kept.push([`--${other.sameAs}`, ...value].join("="));
      } else {
        draft.problems.push(describeOtherName(written, other));
        if ("here" in other) draft.answered.push(other.here);
      }
    }
    return kept;
  }

  #addFile(draft: Draft, path: string): void {
    if (!isSettingsFile(path)) {
      draft.problems.push(
        `Cannot read ${quoted(path)}: expected flags, or a settings file ` +
          "that ends in .json, .jsonc, .yaml or .yml",
      );
      return;
    }
    const entries = draft.attempt(() => readSettingsFile(path)) ?? [];
    this.#addEntries(draft, { entries, source: path });
  }

  #addEntries(
    draft: Draft,
    { entries, source }: {
      entries: readonly SettingsEntry[];
      source: string | undefined;
    },
  ): void {
    const start = source === undefined ? "settings" : quoted(source);
    for (const { key, value, line } of entries) {
      const place = line === undefined ? start : `${start} line ${line}`;
      const other = otherName(key, this.#options.otherNames ?? {});
      if (other !== undefined && !("sameAs" in other)) {
        draft.problems.push(describeOtherName(`"${key}" (${place})`, other));
        continue;
      }
      const name = this.#nameOf.get(other?.sameAs ?? key);
      const setting = this.#settings.get(name ?? "");
      if (name === undefined || setting === undefined) {
        const hint = typeof value === "object" && value !== null
          ? " (settings are not nested)"
          : this.#didYouMean(key, "");
        draft.problems.push(
          `Cannot use ${place}: unknown key ${quoted(key)}${hint}`,
        );
        continue;
      }
      if (draft.origins.has(name)) {
        draft.problems.push(`Cannot use ${place}: "${key}" is given twice`);
      }
      const reading = readJson(setting, { value });
      if ("problem" in reading) {
        draft.problems.push(`Cannot use ${place}: "${key}" ${reading.problem}`);
        continue;
      }
      draft.values.set(name, reading.value);
      draft.origins.set(name, `"${key}" (${place})`);
    }
  }

  #addStrings(
    draft: Draft,
    given: { name: string; strings: FoundStrings },
  ): void {
    const setting = this.#settings.get(given.name);
    if (setting === undefined) return;
    const reading = readStrings(setting, given.strings);
    if ("problem" in reading) {
      const flag = dashed(given.name).join("/");
      draft.problems.push(`argument ${flag}: ${reading.problem}`);
      return;
    }
    const { value } = reading;
    draft.values.set(
      given.name,
      withPaths(setting, value, (path) => this.#fromFolder(path)),
    );
    draft.origins.set(given.name, `--${given.name}`);
  }

  /** A path as the user typed it, in the form that this process has to open. */
  #fromFolder(path: string): string {
    const { folder } = this.#options;
    const isElsewhere = folder !== undefined && path !== "" &&
      !isAbsolute(path);
    return isElsewhere ? join(folder, path) : path;
  }

  #addUnknown(draft: Draft, unknown: readonly string[]): void {
    if (unknown.length === 0) return;
    const hints = unknown.map((word) => {
      if (word.startsWith("--")) return this.#didYouMean(word, "--");
      return isSettingsFile(word) ? " (a settings file comes first)" : "";
    });
    const names = unknown.join(" ");
    draft.problems.push(`unrecognized arguments: ${names}${hints.join("")}`);
  }

  #didYouMean(word: string, dashes: string): string {
    const usable = [...this.#settings].flatMap(([name, setting]) =>
      isUsable(setting) ? [name, ...setting.aliases ?? []] : []
    );
    const closest = closestName(plainName(word), usable);
    return closest === undefined ? "" : ` (did you mean ${dashes}${closest}?)`;
  }

  #finish(draft: Draft): ArgumentsReading<G> {
    for (const [name, value] of draft.values) {
      const setting = this.#settings.get(name);
      const written = draft.origins.get(name) ?? name;
      const problem = setting &&
        refusal(setting, { name: written, value });
      if (problem !== undefined) draft.problems.push(problem);
    }
    const dataclasses = this.#groups.map((group) =>
      Object.fromEntries(
        rowsOf(group).map(([name, setting]) => [
          name,
          draft.values.has(name) ? draft.values.get(name) : setting.default,
        ]),
      )
    );
    return {
      // the type is derived from the same tables as these values
      dataclasses: dataclasses as unknown as Dataclasses<G>,
      given: draft.origins,
      file: draft.file,
      problems: draft.problems,
    };
  }
}

/** The values and problems found so far. */
class Draft {
  readonly values = new Map<string, unknown>();
  readonly origins = new Map<string, string>();
  readonly problems: string[] = [];
  /** Settings that were given by another tool's name. */
  readonly answered: string[] = [];
  file: string | undefined;

  /** Runs `step`; an {@linkcode InputError} that it throws becomes a problem. */
  attempt<T>(step: () => T): T | undefined {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      this.problems.push(error.message);
      return undefined;
    }
  }
}

/**
 * Throws one error with all problems, if there are any.
 *
 * @throws {InputError} with one problem per line and exit code 2.
 */
export function throwProblems(problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new InputError(problems.join("\n"), { exitCode: 2 });
}

/** The setting's name in a flag or key: `a_b` in `--a-b=1`. */
function plainName(word: string): string {
  return word.replace(/^-+/, "").replace(/=.*$/s, "").replaceAll("-", "_");
}
