/**
 * Filters, tests and methods of strings of chat templates as Jinja and Python have
 * them, where the package's own differ or are missing.
 *
 * @module
 */

import {
  areEqual,
  entriesOf,
  functionOf,
  iterated,
  jsonOf,
  listOf,
  mappingOf,
  textOf,
  type Value,
  valueOf,
} from "./jinja_values.ts";
import {
  capitalized,
  lines,
  type Side,
  split,
  splitFromEnd,
  stripped,
  titled,
} from "./python_strings.ts";

/** What stands in the brackets of a call. */
export interface Arguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

/** A filter: its operand and what stands in its brackets. */
export type Filter = (operand: Value, given: Arguments) => Value;

const UNDEFINED = valueOf(undefined);

function argument(
  { positional, named }: Arguments,
  at: number,
  name: string,
): Value {
  return positional[at] ?? named.get(name) ?? UNDEFINED;
}

function isTrue(value: Value): boolean {
  return value.__bool__().value;
}

function textOrNull(value: Value): string | null {
  return typeof value.value === "string" ? value.value : null;
}

function integer(value: Value, other: number): number {
  return typeof value.value === "number" ? value.value : other;
}

/** The value at a path such as "function.name" or 0. */
function attributeOf(value: Value, path: Value): Value {
  return String(path.value).split(".").reduce((it: Value, key) => {
    const found = it.value instanceof Map
      ? it.value.get(key)
      : entriesOf(it)?.[Number(key)];
    return found ?? UNDEFINED;
  }, value);
}

/** Tests that take one value, or one to compare with. */
export const TESTS: Readonly<
  Record<string, (value: Value, other: Value) => boolean>
> = {
  boolean: ({ type }) => type === "BooleanValue",
  defined: ({ type }) => type !== "UndefinedValue",
  undefined: ({ type }) => type === "UndefinedValue",
  none: ({ type }) => type === "NullValue",
  true: ({ value }) => value === true,
  false: ({ value }) => value === false,
  string: ({ value }) => typeof value === "string",
  number: ({ value }) =>
    typeof value === "number" || typeof value === "boolean",
  integer: ({ type }) => type === "IntegerValue",
  float: ({ type }) => type === "FloatValue",
  mapping: (value) => mappingOf(value) !== null,
  sequence: isIterable,
  iterable: isIterable,
  odd: ({ value }) => Math.abs(Number(value) % 2) === 1,
  even: ({ value }) => Number(value) % 2 === 0,
  equalto: areEqual,
  eq: areEqual,
  "==": areEqual,
  ne: (value, other) => !areEqual(value, other),
  "!=": (value, other) => !areEqual(value, other),
  in: isIn,
};

function isIterable(value: Value): boolean {
  return typeof value.value === "string" || value.type === "UndefinedValue" ||
    mappingOf(value) !== null || entriesOf(value) !== null;
}

/** `value in whole` in Python. */
export function isIn(value: Value, whole: Value): boolean {
  if (typeof whole.value === "string" && typeof value.value === "string") {
    return whole.value.includes(value.value);
  }
  if (mappingOf(whole) !== null) {
    const key = textOrNull(value);
    return key !== null && mappingOf(whole)!.has(key);
  }
  return iterated(whole).some((it) => areEqual(it, value));
}

function testNamed(name: Value): (value: Value, other: Value) => boolean {
  const test = TESTS[String(name.value)];
  if (test === undefined) {
    throw new Error(`there is no test ${String(name.value)}`);
  }
  return test;
}

function selected(operand: Value, given: Arguments, wanted: boolean): Value {
  const [name, other = UNDEFINED] = given.positional;
  const test = name === undefined ? isTrue : testNamed(name);
  return listOf(iterated(operand).filter((it) => test(it, other) === wanted));
}

function selectedBy(operand: Value, given: Arguments, wanted: boolean): Value {
  const [path = UNDEFINED, name, other = UNDEFINED] = given.positional;
  const test = name === undefined ? isTrue : testNamed(name);
  return listOf(
    iterated(operand).filter((it) =>
      test(attributeOf(it, path), other) === wanted
    ),
  );
}

function mapped(operand: Value, given: Arguments): Value {
  const attribute = given.named.get("attribute");
  const items = iterated(operand);
  if (attribute !== undefined) {
    const other = given.named.get("default") ?? UNDEFINED;
    return listOf(items.map((it) => {
      const found = attributeOf(it, attribute);
      return found.type === "UndefinedValue" ? other : found;
    }));
  }
  const [name = UNDEFINED, ...positional] = given.positional;
  const filter = FILTERS[String(name.value)];
  if (filter === undefined) {
    throw new Error(`there is no filter ${String(name.value)} for map`);
  }
  return listOf(
    items.map((it) => filter(it, { positional, named: given.named })),
  );
}

function joined(operand: Value, given: Arguments): Value {
  const attribute = argument(given, 1, "attribute");
  const items = iterated(operand).map((it) =>
    attribute.type === "UndefinedValue" ? it : attributeOf(it, attribute)
  );
  const between = textOf(argument(given, 0, "d"));
  return valueOf(items.map(textOf).join(between));
}

function withDefault(operand: Value, given: Arguments): Value {
  const other = argument(given, 0, "default_value");
  const isMissing = operand.type === "UndefinedValue" ||
    (isTrue(argument(given, 1, "boolean")) && !isTrue(operand));
  if (!isMissing) return operand;
  return other.type === "UndefinedValue" ? valueOf("") : other;
}

function json(operand: Value, given: Arguments): Value {
  const indent = argument(given, 1, "indent").value;
  const separators = entriesOf(argument(given, 2, "separators"))?.map(textOf);
  return valueOf(jsonOf(operand, {
    ensureAscii: isTrue(argument(given, 0, "ensure_ascii")),
    indent: typeof indent === "number" ? indent : null,
    separators: separators === undefined
      ? null
      : separators as [string, string],
    sortKeys: isTrue(argument(given, 3, "sort_keys")),
  }));
}

function length(operand: Value): Value {
  return valueOf(mappingOf(operand)?.size ?? iterated(operand).length);
}

function onText(change: (text: string) => string): Filter {
  return (operand) => valueOf(change(textOf(operand)));
}

function distinct(operand: Value, given: Arguments): Value {
  const minds = isTrue(argument(given, 0, "case_sensitive"));
  const key = (it: Value): Value =>
    minds || typeof it.value !== "string"
      ? it
      : valueOf(it.value.toLowerCase());
  const kept: Value[] = [];
  for (const it of iterated(operand)) {
    if (!kept.some((other) => areEqual(key(other), key(it)))) kept.push(it);
  }
  return listOf(kept);
}

/** Filters by name; the package has the others. */
export const FILTERS: Readonly<Record<string, Filter>> = {
  trim: (operand, given) =>
    valueOf(
      stripped(
        textOf(operand),
        "both",
        textOrNull(argument(given, 0, "chars")),
      ),
    ),
  string: onText((text) => text),
  upper: onText((text) => text.toUpperCase()),
  lower: onText((text) => text.toLowerCase()),
  capitalize: onText(capitalized),
  title: onText(titled),
  safe: (operand) => operand,
  length,
  count: length,
  list: (operand) => listOf(iterated(operand)),
  first: (operand) => iterated(operand)[0] ?? UNDEFINED,
  last: (operand) => iterated(operand).at(-1) ?? UNDEFINED,
  reverse: (operand) =>
    typeof operand.value === "string"
      ? valueOf([...operand.value].reverse().join(""))
      : listOf([...iterated(operand)].reverse()),
  unique: distinct,
  items: (operand) =>
    listOf(
      [...mappingOf(operand) ?? []].map(([key, it]) =>
        listOf([valueOf(key), it])
      ),
    ),
  default: withDefault,
  d: withDefault,
  join: joined,
  map: mapped,
  select: (operand, given) => selected(operand, given, true),
  reject: (operand, given) => selected(operand, given, false),
  selectattr: (operand, given) => selectedBy(operand, given, true),
  rejectattr: (operand, given) => selectedBy(operand, given, false),
  tojson: json,
};

function texts(parts: readonly string[]): Value {
  return listOf(parts.map(valueOf));
}

function side(of: Side): (text: string, given: Arguments) => Value {
  return (text, given) =>
    valueOf(stripped(text, of, textOrNull(argument(given, 0, "chars"))));
}

function parted(
  cut: typeof split,
): (text: string, given: Arguments) => Value {
  return (text, given) =>
    texts(
      cut(
        text,
        textOrNull(argument(given, 0, "sep")),
        integer(argument(given, 1, "maxsplit"), -1),
      ),
    );
}

const METHODS: Readonly<
  Record<string, (text: string, given: Arguments) => Value>
> = {
  strip: side("both"),
  lstrip: side("left"),
  rstrip: side("right"),
  split: parted(split),
  rsplit: parted(splitFromEnd),
  splitlines: (text) => texts(lines(text)),
  capitalize: (text) => valueOf(capitalized(text)),
  join: (text, { positional: [items = UNDEFINED] }) =>
    valueOf(iterated(items).map(textOf).join(text)),
  find: (text, { positional: [part = UNDEFINED] }) => {
    const found = text.indexOf(textOf(part));
    return valueOf(found < 0 ? -1 : [...text.slice(0, found)].length);
  },
  count: (text, { positional: [part = UNDEFINED] }) =>
    valueOf(text.split(textOf(part)).length - 1),
  removeprefix: (text, { positional: [part = UNDEFINED] }) =>
    valueOf(
      text.startsWith(textOf(part)) ? text.slice(textOf(part).length) : text,
    ),
  removesuffix: (text, { positional: [part = UNDEFINED] }) =>
    valueOf(
      textOf(part) !== "" && text.endsWith(textOf(part))
        ? text.slice(0, -textOf(part).length)
        : text,
    ),
  isdigit: (text) => valueOf(/^\p{Nd}+$/u.test(text)),
};

/** The method `name` of a text, where it is one of these. */
export function methodOf(text: string, name: string): Value | null {
  if (!Object.hasOwn(METHODS, name)) return null;
  const method = METHODS[name]!;
  return functionOf((given) => {
    const last = given.at(-1);
    const isNamed = last?.type === "KeywordArgumentsValue";
    return method(text, {
      positional: isNamed ? given.slice(0, -1) : given,
      named: isNamed ? last!.value as ReadonlyMap<string, Value> : new Map(),
    });
  });
}
