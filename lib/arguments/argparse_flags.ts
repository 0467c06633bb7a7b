/**
 * The only file that uses `npm:argparse`, the port of Python's argparse: it takes
 * a list of flags and returns the strings found after each of them. argparse
 * would print and end the process; here an error is thrown, and help is returned.
 * What the strings mean is decided elsewhere.
 *
 * @module
 */
import {
  type ActionsContainer,
  ArgumentParser,
  HelpFormatter,
  type HelpFormatterOptions,
  SUPPRESS,
} from "npm:argparse@3.0.4";
import { InputError } from "../input_error.ts";
import type { FoundStrings } from "./setting_value.ts";

/** One flag as argparse sees it. */
export interface Flag {
  /** The setting that the flag sets. */
  readonly name: string;
  /** Every spelling, with its dashes. */
  readonly spellings: readonly string[];
  /** Spellings that turn it off and take no value. */
  readonly offSpellings: readonly string[];
  /** Number of values after the flag: exactly one, none or one, one or more. */
  readonly values: "one" | "optional" | "some";
  /** The help's name for the value. */
  readonly metavar: string;
  /** Help text; undefined hides the flag. */
  readonly help: string | undefined;
}

/** How the help looks. */
export interface FlagsLayout {
  /** The command that the user typed. */
  readonly prog: string;
  /** The usage line, without "usage: ". */
  readonly usage: string;
  /** Text above the flags. */
  readonly description: string;
  /** Paragraphs below the flags. */
  readonly epilog: readonly string[];
  /** Columns of the terminal. */
  readonly columns: number;
}

/** Flags under one heading of the help. */
export interface FlagGroup {
  /** Heading. */
  readonly title: string;
  /** Its flags. */
  readonly flags: readonly Flag[];
}

/** The flags found on a command line. */
export interface FoundFlags {
  /** The strings after each given flag, by setting; the last occurrence counts. */
  readonly given: ReadonlyMap<string, FoundStrings>;
  /** Strings that belong to no flag. */
  readonly unknown: readonly string[];
}

/**
 * Finds the flags in `args` by argparse's rules: `--x v`, `--x=v`, unambiguous
 * prefixes; the last occurrence counts.
 *
 * @throws {InputError} with argparse's own message and exit code 2.
 */
export function findFlags(
  groups: readonly FlagGroup[],
  args: readonly string[],
  layout: FlagsLayout,
): FoundFlags | { readonly help: string } {
  const parser = makeParser(groups, layout);
  const [found, unknown] = parser.parse_known_args([...args]);
  const { help, ...given } = found as Record<string, FoundStrings>;
  if (help !== undefined) {
    const below = layout.epilog.map((text) =>
      wrapped(text, layout.columns - 2)
    );
    return { help: [parser.format_help(), ...below].join("\n") };
  }
  return { given: new Map(Object.entries(given)), unknown };
}

/** What argparse's help needs to know of a flag. */
interface ShownAction {
  readonly option_strings: readonly string[];
}

/** The method of argparse's formatter that is missing from its types. */
interface InvocationHook {
  _format_action_invocation(this: HelpFormatter, action: ShownAction): string;
}

class ThrowingParser extends ArgumentParser {
  /** The spelling of each flag that the help shows. */
  readonly shown = new Set<string>();

  override error(message: string): never {
    throw new InputError(this.#withoutHidden(message), { exitCode: 2 });
  }

  /** Removes hidden flags from argparse's list of those that a prefix could mean. */
  #withoutHidden(message: string): string {
    const parts = /^(ambiguous option: .* could match )(.*)$/s.exec(message);
    if (parts === null) return message;
    const [, start, flags = ""] = parts;
    const shown = flags.split(", ").filter((flag) => this.shown.has(flag));
    return shown.length === 0
      ? message.replace(/ could match .*$/s, ", expected its full name")
      : `${start}${shown.join(", ")}`;
  }
}

function makeParser(
  groups: readonly FlagGroup[],
  { columns, prog, usage, description }: FlagsLayout,
): ArgumentParser {
  // argparse asks the process for the terminal's width unless a width is given
  class FixedWidth extends HelpFormatter {
    constructor(options: HelpFormatterOptions) {
      super({ ...options, width: columns - 2, color: false });
    }

    /**
     * argparse calls this for the first line of a flag; it leaves out `--a-b`
     * after `--a_b`.
     */
    _format_action_invocation(action: ShownAction): string {
      const all = action.option_strings;
      const shown = all.filter((flag) =>
        !all.some((other) =>
          other !== flag && other.replaceAll("_", "-") === flag
        )
      );
      const inherited = HelpFormatter.prototype as unknown as InvocationHook;
      return inherited._format_action_invocation.call(
        this,
        Object.create(action, { option_strings: { value: shown } }),
      );
    }
  }
  const parser = new ThrowingParser({
    prog,
    usage,
    description,
    formatter_class: FixedWidth,
    argument_default: SUPPRESS,
    add_help: false,
    color: false,
  });
  parser.add_argument("-h", "--help", {
    action: "store_true",
    default: SUPPRESS,
    help: "show this help message and exit",
  });
  for (const { title, flags } of groups) {
    const group = parser.add_argument_group({ title });
    for (const flag of flags) {
      addFlag(group, flag);
      const [spelling] = flag.spellings;
      if (flag.help !== undefined && spelling) parser.shown.add(spelling);
    }
  }
  return parser;
}

/** `text` in lines of at most `width` characters, broken between words. */
function wrapped(text: string, width: number): string {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (longer.length <= width) line = longer;
    else {
      lines.push(line);
      line = word;
    }
  }
  return [...lines, line, ""].join("\n");
}

function addFlag(group: ActionsContainer, flag: Flag): void {
  const help = flag.help?.replaceAll("%", "%%") ?? SUPPRESS;
  const [spelling = "", ...others] = flag.spellings;
  group.add_argument(spelling, ...others, {
    dest: flag.name,
    metavar: flag.metavar,
    help,
    ...(flag.values === "some" ? { nargs: "+" as const } : {}),
    ...(flag.values === "optional" ? { nargs: "?" as const, const: true } : {}),
  });
  const [offSpelling, ...otherOff] = flag.offSpellings;
  if (offSpelling === undefined) return;
  group.add_argument(offSpelling, ...otherOff, {
    dest: flag.name,
    action: "store_const",
    const: false,
    help: flag.help === undefined ? SUPPRESS : `turns --${flag.name} off`,
  });
}
