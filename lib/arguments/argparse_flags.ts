/**
 * The one place that touches `npm:argparse`, the port of Python's argparse:
 * a list of flags in, the words found for each of them out. argparse would
 * print and end the process; here an error is thrown and help is returned.
 * What the words mean is not decided here.
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
import type { Words } from "./setting_value.ts";

/** One flag as argparse sees it. */
export interface Flag {
  /** The setting it gives a value to. */
  readonly name: string;
  /** Every spelling, with its dashes. */
  readonly spellings: readonly string[];
  /** Spellings that turn it off and take no value. */
  readonly offSpellings: readonly string[];
  /** Values after it: exactly one, none or one, one or more. */
  readonly words: "one" | "optional" | "some";
  /** What the help calls the value. */
  readonly metavar: string;
  /** Help text; undefined hides the flag. */
  readonly help: string | undefined;
}

/** How the help looks. */
export interface FlagsLayout {
  /** What the user typed to start the program. */
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

/** What stood on the command line. */
export interface FoundFlags {
  /** Words by setting, for those given; the last occurrence wins. */
  readonly given: ReadonlyMap<string, Words>;
  /** Words that no flag took. */
  readonly unknown: readonly string[];
}

/**
 * Finds the flags in `args` by argparse's rules: `--x v`, `--x=v`, unambiguous
 * prefixes, the last occurrence wins.
 *
 * @throws {InputError} with argparse's own words and exit code 2.
 */
export function findFlags(
  groups: readonly FlagGroup[],
  args: readonly string[],
  layout: FlagsLayout,
): FoundFlags | { readonly help: string } {
  const parser = makeParser(groups, layout);
  const [found, unknown] = parser.parse_known_args([...args]);
  const { help, ...given } = found as Record<string, Words>;
  if (help !== undefined) {
    const below = layout.epilog.map((text) =>
      wrapped(text, layout.columns - 2)
    );
    return { help: [parser.format_help(), ...below].join("\n") };
  }
  return { given: new Map(Object.entries(given)), unknown };
}

/** What argparse's help reads of a flag. */
interface ShownAction {
  readonly option_strings: readonly string[];
}

/** The method of argparse's formatter that its types leave out. */
interface InvocationHook {
  _format_action_invocation(this: HelpFormatter, action: ShownAction): string;
}

class ThrowingParser extends ArgumentParser {
  /** One spelling of each flag that the help shows. */
  readonly shown = new Set<string>();

  override error(message: string): never {
    throw new InputError(this.#withoutHidden(message), { exitCode: 2 });
  }

  /** argparse names every flag that a prefix could mean, hidden ones as well. */
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
  // argparse asks the process for the terminal's width unless it is given
  class FixedWidth extends HelpFormatter {
    constructor(options: HelpFormatterOptions) {
      super({ ...options, width: columns - 2, color: false });
    }

    /** argparse's hook for the first line of a flag; it leaves out `--a-b` after `--a_b`. */
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
    ...(flag.words === "some" ? { nargs: "+" as const } : {}),
    ...(flag.words === "optional" ? { nargs: "?" as const, const: true } : {}),
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
