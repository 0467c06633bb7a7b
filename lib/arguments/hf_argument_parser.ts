/**
 * HfArgumentParser: one or several settings tables in, typed values out, from
 * flags, a settings file, or plain data. Flags behave as in transformers'
 * `hf_argparser.py`; beyond it, unknown names get a "did you mean", `none` is
 * possible for optional values, and all complaints come at once.
 *
 * @module
 */
import { isAbsolute, join } from "node:path";
import { InputError } from "../input_error.ts";
import { findFlags, type Flag, type FlagGroup } from "./argparse_flags.ts";
import { closestName } from "./closest_name.ts";
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
  /** Everything that is wrong, one sentence each. */
  readonly complaints: readonly string[];
}

/** The user asked for help; `help` is the text to print. */
export interface HelpRequest {
  /** The whole help text. */
  readonly help: string;
}

/** Options of {@linkcode HfArgumentParser}. */
export interface HfArgumentParserOptions {
  /** What the user typed to start the program; stands in the help. */
  readonly prog?: string;
  /** Columns of the help text. Default 80. */
  readonly columns?: number;
  /** Where relative paths in flags start. Default: the working directory. */
  readonly folder?: string;
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
   * @throws {InputError} with all complaints and exit code 2.
   */
  parseArgsIntoDataclasses(
    args: readonly string[],
  ): Dataclasses<G> | HelpRequest {
    const reading = this.read(args);
    if ("help" in reading) return reading;
    throwComplaints(reading.complaints);
    return reading.dataclasses;
  }

  /**
   * Parses plain data, as from a JSON file; unknown names and wrong types are
   * complaints.
   *
   * @throws {InputError} with all complaints and exit code 2.
   */
  parseDict(values: Readonly<Record<string, unknown>>): Dataclasses<G> {
    const draft = new Draft();
    const entries = Object.entries(values)
      .map(([key, value]) => ({ key, value }));
    this.#addEntries(draft, { entries, source: undefined });
    const reading = this.#finish(draft);
    throwComplaints(reading.complaints);
    return reading.dataclasses;
  }

  /** As {@linkcode parseArgsIntoDataclasses}, with complaints as data. */
  read(args: readonly string[]): ArgumentsReading<G> | HelpRequest {
    const draft = new Draft();
    const [first] = args;
    const hasFile = first !== undefined && !first.startsWith("-");
    const flags = hasFile ? args.slice(1) : args;
    // help is asked for by people whose file or flags are still wrong
    const found = draft.attempt(() =>
      findFlags(this.#flagGroups(), flags, this.#layout())
    );
    if (found !== undefined && "help" in found) return found;
    if (hasFile) this.#addFile(draft, this.#fromFolder(first));
    for (const [name, words] of found?.given ?? []) {
      this.#addWords(draft, { name, words });
    }
    this.#addUnknown(draft, found?.unknown ?? []);
    return this.#finish(draft);
  }

  #addFile(draft: Draft, path: string): void {
    if (!isSettingsFile(path)) {
      draft.complaints.push(
        `Cannot read "${path}": expected flags, or a settings file that ` +
          "ends in .json, .jsonc, .yaml or .yml",
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
    const start = source === undefined ? "settings" : `"${source}"`;
    for (const { key, value, line } of entries) {
      const place = line === undefined ? start : `${start} line ${line}`;
      const name = this.#nameOf.get(key);
      const setting = this.#settings.get(name ?? "");
      if (name === undefined || setting === undefined) {
        const hint = this.#didYouMean(key, "");
        draft.complaints.push(
          `Cannot use ${place}: unknown key "${key}"${hint}`,
        );
        continue;
      }
      if (draft.origins.has(name)) {
        draft.complaints.push(`Cannot use ${place}: "${key}" is given twice`);
      }
      const reading = readJson(setting, { value });
      if ("complaint" in reading) {
        draft.complaints.push(
          `Cannot use ${place}: "${key}" ${reading.complaint}`,
        );
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
    if ("complaint" in reading) {
      const flag = spellingsOf(given.name, setting).join("/");
      draft.complaints.push(`argument ${flag}: ${reading.complaint}`);
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
    draft.complaints.push(`unrecognized arguments: ${words}${hints.join("")}`);
  }

  #didYouMean(word: string, dashes: string): string {
    const plain = word.replace(/^-+/, "").replace(/=.*$/s, "")
      .replaceAll("-", "_");
    const usable = [...this.#settings].flatMap(([name, setting]) =>
      setting.accepts === "default" ? [] : [name, ...setting.aliases ?? []]
    );
    const closest = closestName(plain, usable);
    return closest === undefined ? "" : ` (did you mean ${dashes}${closest}?)`;
  }

  #finish(draft: Draft): ArgumentsReading<G> {
    for (const [name, value] of draft.values) {
      const setting = this.#settings.get(name);
      const written = draft.origins.get(name) ?? name;
      const complaint = setting && refusal(setting, { name: written, value });
      if (complaint !== undefined) draft.complaints.push(complaint);
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
      complaints: draft.complaints,
    };
  }

  #flagGroups(): FlagGroup[] {
    return this.#groups.map((group) => ({
      title: group.title,
      flags: rowsOf(group).map(([name, setting]) => flagOf(name, setting)),
    }));
  }

  #layout(): Parameters<typeof findFlags>[2] {
    const { prog = "lorikeet", columns = 80 } = this.#options;
    const refused = [...this.#settings]
      .filter(([_, setting]) => setting.accepts === "default")
      .map(([name]) => name);
    return {
      prog,
      columns,
      usage: `${prog} [settings.json|.jsonc|.yaml] [--flag value ...]`,
      description: "A settings file holds the same names as the flags; flags " +
        "win over it.",
      epilog: refused.length === 0
        ? ""
        : `Recognised and not supported yet: ${refused.join(", ")}.`,
    };
  }
}

/** Values and complaints while they are gathered. */
class Draft {
  readonly values = new Map<string, unknown>();
  readonly origins = new Map<string, string>();
  readonly complaints: string[] = [];

  /** Runs `step`; what it throws about user input becomes a complaint. */
  attempt<T>(step: () => T): T | undefined {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      this.complaints.push(error.message);
      return undefined;
    }
  }
}

/**
 * Throws all complaints as one error, if there are any.
 *
 * @throws {InputError} with one complaint per line and exit code 2.
 */
export function throwComplaints(complaints: readonly string[]): void {
  if (complaints.length === 0) return;
  throw new InputError(complaints.join("\n"), { exitCode: 2 });
}

function rowsOf(group: SettingsGroup): [string, Setting][] {
  return Object.entries(group.table);
}

/** `--a_b` and `--a-b`, and the same for each alias. */
function spellingsOf(name: string, setting: Setting): string[] {
  return [name, ...setting.aliases ?? []].flatMap(dashed);
}

function dashed(name: string): string[] {
  return name.includes("_")
    ? [`--${name}`, `--${name.replaceAll("_", "-")}`]
    : [`--${name}`];
}

function flagOf(name: string, setting: Setting): Flag {
  const isSwitch = setting.kind === "bool";
  const isList = ["list", "ints", "targets"].includes(setting.kind);
  const choices = Array.isArray(setting.accepts)
    ? setting.accepts
    : setting.choices;
  return {
    name,
    spellings: spellingsOf(name, setting),
    offSpellings: isSwitch && setting.default === true
      ? dashed(`no_${name}`)
      : [],
    words: isList
      ? "some"
      : isSwitch && setting.default !== null
      ? "optional"
      : "one",
    metavar: choices === undefined
      ? name.toUpperCase()
      : `{${choices.join(",")}}`,
    help: setting.accepts === "default"
      ? undefined
      : `${setting.help} (default: ${shownDefault(setting.default)})`,
  };
}

function shownDefault(value: unknown): string {
  if (value === null) return "none";
  if (Array.isArray(value)) return value.join(" ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
