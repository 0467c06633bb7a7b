/**
 * Parses a chat template and renders it within bounds. A template comes with a model, and may loop for ever or make
 * huge texts and lists. Its interpreter is checked at every step, so that
 * rendering ends within a fixed time and memory whatever the template contains.
 *
 * @module
 */

import {
  Environment,
  type Node,
  parse,
  type Program,
  pythonValueOf,
  tokenize,
  type Value,
} from "./jinja_values.ts";
import { type AnyNode, PythonInterpreter } from "./python_jinja.ts";
import { clock } from "./python_strings.ts";

/** A rendering takes far less than a tenth of a second; this is for busy machines. */
const MOST_MILLISECONDS = 5000;
const STEPS_BETWEEN_LOOKS = 512;
const LONGEST_TEMPLATE = 1_000_000;
const LONGEST_TEXT = 4_000_000;
const LONGEST_LIST = 200_000;
const WIDEST_INDENT = 64;
/** Work on values longer than this takes so long that the clock is checked every time. */
const LONG_TEXT = 50_000;
const LONG_LIST = 500;

/** What to check when the value of a node is known. */
interface Watched {
  /** It becomes text, so its content is counted. */
  readonly becomesText: WeakSet<Node>;
  /** Is the width of an indent. */
  readonly isWidth: WeakSet<Node>;
  /** A property is read from it, which Jinja allows only for a value. */
  readonly hasProperty: WeakSet<Node>;
}

/** A parsed template. */
export class BoundedTemplate {
  readonly #program: Program;
  readonly #watched: Watched;

  /**
   * Parses `text`.
   *
   * @throws {Error} saying why it is not a template.
   */
  constructor(text: string) {
    if (text.length > LONGEST_TEMPLATE) {
      throw new Error(
        `it has ${text.length} characters, at most ${LONGEST_TEMPLATE} are read`,
      );
    }
    this.#program = notTooDeep(() => parsed(text));
    this.#watched = {
      becomesText: new WeakSet(),
      isWidth: new WeakSet(),
      hasProperty: new WeakSet(),
    };
    notTooDeep(() => watch(this.#program, this.#watched));
  }

  /**
   * The text that the template makes of `variables`.
   *
   * @throws {Error} saying what the template refuses, or which bound it exceeds.
   */
  render(variables: Readonly<Record<string, unknown>>): string {
    return notTooDeep(() => {
      const environment = new Environment();
      for (const [name, value] of Object.entries(GLOBALS)) {
        environment.setVariable(name, pythonValueOf(value));
      }
      for (const [name, value] of Object.entries(variables)) {
        environment.setVariable(name, pythonValueOf(value));
      }
      const interpreter = new WatchedInterpreter(environment, this.#watched);
      return String(interpreter.run(this.#program).value);
    });
  }
}

function parsed(text: string): Program {
  try {
    // Jinja reads each kind of line end as a line feed
    const source = text.replaceAll(/\r\n?/g, "\n");
    return parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    // the parser reads beyond the last token
    throw new Error("it ends inside a block or an expression", { cause });
  }
}

/** The names that transformers gives every chat template. */
const GLOBALS: Readonly<Record<string, unknown>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  range: boundedRange,
  raise_exception: (message: unknown): never => {
    throw new Error(String(message));
  },
  strftime_now: (format: unknown): string => clock(String(format)),
};

function boundedRange(first: number, end?: number, step = 1): number[] {
  const [from, to] = end === undefined ? [0, first] : [first, end];
  const count = Math.ceil((to - from) / step);
  if (!Number.isFinite(count)) {
    throw new Error("range() needs numbers and a step that is not 0");
  }
  if (count > LONGEST_LIST) {
    throw new Error(
      `range() of ${count} numbers, at most ${LONGEST_LIST} can be made`,
    );
  }
  return Array.from({ length: Math.max(0, count) }, (_, i) => from + i * step);
}

class WatchedInterpreter extends PythonInterpreter {
  readonly #watched: Watched;
  readonly #deadline = performance.now() + MOST_MILLISECONDS;
  #steps = 0;

  constructor(environment: Environment, watched: Watched) {
    super(environment);
    this.#watched = watched;
  }

  override evaluate(node: Node | undefined, environment: Environment): Value {
    if (++this.#steps % STEPS_BETWEEN_LOOKS === 0) this.#lookAtClock();
    const value = super.evaluate(node, environment);
    if (node !== undefined) this.#look(node, value);
    return value;
  }

  #lookAtClock(): void {
    if (performance.now() <= this.#deadline) return;
    throw new Error(
      `it is not done after ${
        MOST_MILLISECONDS / 1000
      } s, a loop may have no end`,
    );
  }

  #look(node: Node, { type, value }: Value): void {
    const { becomesText, isWidth, hasProperty } = this.#watched;
    if (typeof value === "string") {
      refuseLonger(value.length, LONGEST_TEXT);
      if (value.length > LONG_TEXT) this.#lookAtClock();
    } else if (Array.isArray(value)) {
      refuseLonger(value.length, LONGEST_LIST);
      // a loop with an empty body takes no steps itself
      if (value.length > LONG_LIST) this.#lookAtClock();
    } else if (type === "UndefinedValue" && hasProperty.has(node)) {
      throw new Error(`${nameOf(node as AnyNode)} is undefined`);
    }
    if (isWidth.has(node) && !isNarrow(value)) {
      throw new Error(`an indent is wider than ${WIDEST_INDENT}`);
    }
    if (typeof value === "object" && becomesText.has(node)) {
      refuseLonger(lengthOf(value, 0), LONGEST_TEXT);
      this.#lookAtClock();
    }
  }
}

function refuseLonger(length: number, longest: number): void {
  if (length <= longest) return;
  throw new Error(
    longest === LONGEST_TEXT
      ? `it makes a text of more than ${LONGEST_TEXT} characters`
      : `it makes a list of more than ${LONGEST_LIST} entries`,
  );
}

/** About how many characters a list or mapping has as text, counted up to the bound. */
function lengthOf(value: unknown, before: number): number {
  let length = before + 1;
  if (length > LONGEST_TEXT) return length;
  if (typeof value === "string") return length + value.length;
  const inner = Array.isArray(value)
    ? value
    : value instanceof Map
    ? value.values()
    : [];
  for (const item of inner as Iterable<{ readonly value: unknown }>) {
    length = lengthOf(item.value, length);
    if (length > LONGEST_TEXT) break;
  }
  return length;
}

function isNarrow(value: unknown): boolean {
  // arguments can be unpacked from a list
  if (Array.isArray(value)) return value.every((it) => isNarrow(it.value));
  return typeof value !== "number" || value <= WIDEST_INDENT;
}

function nameOf(node: AnyNode): string {
  if (node.type === "Identifier") return String(node["value"]);
  if (node.type !== "MemberExpression") return "a value";
  const [object, property] = [node["object"], node["property"]] as AnyNode[];
  const key = node["computed"] === true ? "[…]" : `.${property?.["value"]}`;
  return object === undefined ? key : `${nameOf(object)}${key}`;
}

/** Fields of a node that hold statements, whose values are written out as text. */
const BODIES = new Set(["body", "alternate", "defaultBlock"]);

/** Collects the nodes below `value` whose values are checked. */
function watch(value: unknown, watched: Watched): void {
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) return value.forEach((it) => watch(it, watched));
  if (value instanceof Map) return watch([...value].flat(), watched);
  const node = value as AnyNode;
  for (const [name, field] of Object.entries(node)) {
    if (BODIES.has(name) && Array.isArray(field)) {
      for (const statement of field) watched.becomesText.add(statement);
    }
    watch(field, watched);
  }
  switch (node.type) {
    case "CallExpression":
      for (const argument of argumentsOf(node)) {
        watched.becomesText.add(argument);
      }
      break;
    case "BinaryExpression":
      watched.becomesText.add(node["left"] as Node);
      watched.becomesText.add(node["right"] as Node);
      break;
    case "FilterExpression":
      watched.becomesText.add(node["operand"] as Node);
      watchFilter(node["filter"] as AnyNode, watched);
      break;
    case "FilterStatement":
      watchFilter(node["filter"] as AnyNode, watched);
      break;
    case "MemberExpression":
      watched.hasProperty.add(node["object"] as Node);
  }
}

/** The filters `indent` and `tojson` make as many spaces as a number says. */
function watchFilter(filter: AnyNode, watched: Watched): void {
  const callee = filter["callee"] as AnyNode | undefined;
  const name = callee?.["value"];
  if (name !== "indent" && name !== "tojson") return;
  for (const argument of argumentsOf(filter)) watched.isWidth.add(argument);
}

/** The nodes that are evaluated for the arguments of a call, without the names. */
function argumentsOf(call: AnyNode): Node[] {
  return (call["args"] as readonly AnyNode[]).map((argument) => {
    const value = argument["value"] ?? argument["argument"];
    const isNamed = /^Keyword|^Spread/.test(argument.type);
    return isNamed ? value as Node : argument;
  });
}

/** Nesting in the template is nesting in the interpreter too. */
function notTooDeep<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const isText = error.message.includes("string length");
    const reason = isText
      ? `it makes a text of more than ${LONGEST_TEXT} characters`
      : "it is nested too deeply or calls itself without end";
    throw new Error(reason, { cause: error });
  }
}
