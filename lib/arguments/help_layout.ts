/**
 * How argparse shows each setting: its spellings, the number of its values, the
 * heading of the help that it is listed under, and the text around the flags.
 *
 * @module
 */
import type { Flag, FlagGroup, FlagsLayout } from "./argparse_flags.ts";
import type { Setting, SettingsGroup } from "./setting.ts";

/** Settings that are listed under one heading of the help. */
export interface HelpSection {
  /** Heading. */
  readonly title: string;
  /** Names of the settings, in order. */
  readonly names: readonly string[];
}

/** The help's text and width. */
export interface HelpOptions {
  /** The command that the user typed. */
  readonly prog?: string;
  /** Columns of the help text. Default 80. */
  readonly columns?: number;
  /**
   * Headings with their settings; other settings are listed under the title of
   * their group.
   */
  readonly sections?: readonly HelpSection[];
}

const WIDEST_CHOICES = 40;

/** Whether a setting has an effect, so that help and hints may name it. */
export function isUsable(setting: Setting): boolean {
  return setting.accepts !== "default" && setting.reason === undefined &&
    setting.noEffect === undefined;
}

/** The settings of a group by name. */
export function rowsOf(group: SettingsGroup): [string, Setting][] {
  return Object.entries(group.table);
}

/** `--a_b` and `--a-b`. */
export function dashed(name: string): string[] {
  return name.includes("_") && !name.startsWith("_")
    ? [`--${name}`, `--${name.replaceAll("_", "-")}`]
    : [`--${name}`];
}

/** The spellings of a setting and of each of its aliases. */
function spellingsOf(name: string, setting: Setting): string[] {
  return [name, ...setting.aliases ?? []].flatMap(dashed);
}

/** All flags under their headings. */
export function flagGroups(
  groups: readonly SettingsGroup[],
  sections: readonly HelpSection[] = [],
): FlagGroup[] {
  const rows = new Map(groups.flatMap(rowsOf));
  const placed = new Set(sections.flatMap(({ names }) => names));
  const titled = sections.map(({ title, names }) => ({ title, names }));
  const others = groups.map((group) => ({
    title: group.title,
    names: rowsOf(group).map(([name]) => name)
      .filter((name) => !placed.has(name)),
  }));
  return [...titled, ...others].map(({ title, names }) => ({
    title,
    flags: names.flatMap((name) => {
      const setting = rows.get(name);
      return setting === undefined ? [] : [flagOf(name, setting)];
    }),
  }));
}

function flagOf(name: string, setting: Setting): Flag {
  const isSwitch = setting.kind === "bool" ||
    (setting.kind === "any" && typeof setting.default === "boolean");
  const isList = ["list", "ints", "floats", "paths", "targets", "tokens"]
    .includes(
      setting.kind,
    );
  const choices = (Array.isArray(setting.accepts) ? setting.accepts : null) ??
    setting.choices;
  const inBraces = `{${choices?.join(",")}}`;
  const isNarrow = inBraces.length <= WIDEST_CHOICES;
  const oneOf = choices === undefined || isNarrow
    ? ""
    : `: ${choices.join(", ")}`;
  return {
    name,
    spellings: spellingsOf(name, setting),
    offSpellings: isSwitch && setting.default === true
      ? dashed(`no_${name}`)
      : [],
    values: isList
      ? "some"
      : isSwitch && setting.default !== null
      ? "optional"
      : "one",
    metavar: choices === undefined || !isNarrow ? metavarOf(setting) : inBraces,
    help: isUsable(setting)
      ? `${setting.help}${oneOf} (default: ${shownDefault(setting.default)})`
      : undefined,
  };
}

function metavarOf(setting: Setting): string {
  if (setting.isPath === true) return "PATH";
  const metavars = {
    str: "TEXT",
    any: "VALUE",
    int: "N",
    float: "X",
    bool: "true|false",
    choice: "NAME",
    list: "NAME",
    ints: "N",
    floats: "X",
    paths: "PATH",
    targets: "NAME",
    numbers: "JSON",
    fields: "JSON",
    tokens: "N",
  } as const;
  return [metavars[setting.kind], ...setting.otherValues ?? []].join("|");
}

function shownDefault(value: unknown): string {
  if (value === null) return "none";
  if (Array.isArray(value)) return value.join(" ");
  const isSmall = typeof value === "number" && value > 0 && value < 1e-3;
  if (isSmall) return value.toExponential();
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** The text around the flags. */
export function layoutOf(
  groups: readonly SettingsGroup[],
  { prog = "lorikeet", columns = 80 }: HelpOptions,
): FlagsLayout {
  const hidden = groups.flatMap(rowsOf).filter(([, row]) => !isUsable(row));
  const idle = hidden.filter(([, row]) => row.noEffect !== undefined);
  const refused = hidden.filter(([, row]) => row.noEffect === undefined);
  const list = (title: string, rows: [string, Setting][]): string[] =>
    rows.length === 0
      ? []
      : [`${title}: ${rows.map(([name]) => name).join(", ")}.`];
  return {
    prog,
    columns,
    usage: usageOf(prog),
    description:
      "A settings file uses the names of the flags, without dashes; " +
      "flags override it. A flag may be spelled with - instead of _.",
    epilog: [
      ...list("Accepted, without effect here", idle),
      ...list("Not supported yet", refused),
    ],
  };
}

/** How the command is called. */
function usageOf(prog: string): string {
  return `${prog} [settings.json|.jsonc|.yaml] [--flag value ...]`;
}
