/**
 * HfArgumentParser: one or several settings tables in, typed values out, from
 * flags, a settings file, or plain data. Flags behave as in transformers'
 * `hf_argparser.py`; beyond it, unknown names get a "did you mean", `none` is
 * possible for optional values, and all problems are told at once.
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
  isPathValue,
  readJson,
  readWords,
  refusal,
  type Words,
} from "./setting_value.ts";

/** The values of each group's table, in the groups' order. */
export type Dataclasses<G extends readonly SettingsGroup[]> = {
  readonly [I in keyof G]: SettingsOf<G[I]["table"]>;
};

/** What was read; nothing is thrown for what a user got wrong. */
export interface ArgumentsReading<G extends readonly SettingsGroup[]> {
  /** One object per group; a value that could not be read is its default. */
  readonly dataclasses: Dataclasses<G>;
  /** Settings that were given, and how the user wrote each of them. */
  readonly given: ReadonlyMap<string, string>;
  /** The settings file in front of the flags, or the one that took its place. */
  readonly file: string | undefined;
  /** Everything that is wrong, one sentence each. */
  readonly problems: readonly string[];
}

/** The user asked for help; `help` is the text to print. */
export interface HelpRequest {
  /** The whole help text. */
  readonly help: string;
}

/** Options of {@linkcode HfArgumentParser}. */
export interface HfArgumentParserOptions extends HelpOptions {
  /** Where relative paths in flags start. Default: the working directory. */
  readonly folder?: string;
  /** What other tools call the settings; these names get an answer of their own. */
  readonly otherNames?: OtherNames;
  /** A settings file for command lines that bring none. */
  readonly defaultFile?: {
    /** Its path. */
    readonly path: string;
    /** It is left out when one of these settings is given by a flag. */
    readonly unlessGiven: readonly string[];
  };
}

/** Parses flags, files and plain data by settings tables. */
export class HfArgumentParser<const G extends readonly SettingsGroup[]> {
  readonly #groups: G;
  readonly #settings = new Map<string, Setting>();
  readonly #nameOf = new Map<string, string>();
  readonly #options: HfArgumentParserOptions;

  /**
   * Makes a parser for the tables of `groups`.
   *
   * @throws {TypeError} when two settings share a name.
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
   * Parses `args`: an optional settings file first, then flags, which win.
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
   * Parses plain data, as from a JSON file; unknown names and wrong types are
   * problems.
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

  /** As {@linkcode parseArgsIntoDataclasses}, with problems as data. */
  read(args: readonly string[]): ArgumentsReading<G> | HelpRequest {
    const draft = new Draft();
    const [first] = args;
    const hasFile = first !== undefined && !first.startsWith("-");
    const flags = this.#answerOtherNames(draft, hasFile ? args.slice(1) : args);
    // help is asked for by people whose file or flags are still wrong
    const found = draft.attempt(() =>
      findFlags(
        flagGroups(this.#groups, this.#options.sections),
        flags,
        layoutOf(this.#groups, this.#options),
      )
    );
    if (found !== undefined && "help" in found) return found;
    const given = found?.given ?? new Map<string, Words>();
    draft.file = hasFile
      ? this.#fromFolder(first)
      : this.#defaultFile([...given.keys(), ...draft.answered]);
    if (draft.file !== undefined) this.#addFile(draft, draft.file);
    for (const [name, words] of given) this.#addWords(draft, { name, words });
    this.#addUnknown(draft, found?.unknown ?? []);
    return this.#finish(draft);
  }

  #defaultFile(given: readonly string[]): string | undefined {
    const { defaultFile } = this.#options;
    const isLeftOut = defaultFile?.unlessGiven
      .some((name) => given.includes(name));
    return isLeftOut ? undefined : defaultFile?.path;
  }

  /** Takes flags with other tools' names out of `args`, and answers them. */
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

  #addWords(draft: Draft, given: { name: string; words: Words }): void {
    const setting = this.#settings.get(given.name);
    if (setting === undefined) return;
    const reading = readWords(setting, given.words);
    if ("problem" in reading) {
      const flag = dashed(given.name).join("/");
      draft.problems.push(`argument ${flag}: ${reading.problem}`);
      return;
    }
    const { value } = reading;
    draft.values.set(
      given.name,
      isPathValue(setting, value) ? this.#fromFolder(value) : value,
    );
    draft.origins.set(given.name, `--${given.name}`);
  }

  /** A path that a user typed, as this process has to open it. */
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
    const words = unknown.join(" ");
    draft.problems.push(`unrecognized arguments: ${words}${hints.join("")}`);
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
      // the tables that made these values are the ones the type is made from
      dataclasses: dataclasses as unknown as Dataclasses<G>,
      given: draft.origins,
      file: draft.file,
      problems: draft.problems,
    };
  }
}

/** Values and problems while they are gathered. */
class Draft {
  readonly values = new Map<string, unknown>();
  readonly origins = new Map<string, string>();
  readonly problems: string[] = [];
  /** Settings that were given by a name of another tool. */
  readonly answered: string[] = [];
  file: string | undefined;

  /** Runs `step`; what it throws about user input becomes a problem. */
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
 * Throws all problems as one error, if there are any.
 *
 * @throws {InputError} with one problem per line and exit code 2.
 */
export function throwProblems(problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new InputError(problems.join("\n"), { exitCode: 2 });
}

/** The name in a flag or key: `--a-b=1` is `a_b`. */
function plainName(word: string): string {
  return word.replace(/^-+/, "").replace(/=.*$/s, "").replaceAll("-", "_");
}
