/**
 * Renders parsed templates by the rules of Python's Jinja, which transformers
 * uses. Hugging Face's package for JavaScript has rules of its own for scopes of
 * loops and macros, for text before a `break`, for what `None` is as text, for
 * equality, blanks and keys that are called like methods.
 *
 * @module
 */

import { compareCodePoints } from "../formats/code_point_order.ts";
import { FILTERS, isIn, methodOf, TESTS } from "./jinja_filters.ts";
import {
  areEqual,
  entriesOf,
  Environment,
  functionOf,
  Interpreter,
  iterated,
  listOf,
  mappingOf,
  type Node,
  textOf,
  typeName,
  type Value,
  valueOf,
} from "./jinja_values.ts";

/** A node of any kind. */
export type AnyNode = Node & Readonly<Record<string, unknown>>;

/** Methods that the package's type declarations hide; its version is fixed. */
interface OpenInterpreter {
  evaluate(node: Node | undefined, environment: Environment): Value;
  run(program: Node): Value;
  evaluateArguments(
    args: readonly Node[],
    environment: Environment,
  ): [Value[], Map<string, Value>];
  evaluateBlock(body: readonly Node[], environment: Environment): Value;
  evaluateBinaryExpression(node: AnyNode, environment: Environment): Value;
  evaluateTestExpression(node: AnyNode, environment: Environment): Value;
  evaluateMemberExpression(node: AnyNode, environment: Environment): Value;
  evaluateFor(node: AnyNode, environment: Environment): Value;
  evaluateMacro(node: AnyNode, environment: Environment): Value;
  applyFilter(operand: Value, filter: AnyNode, environment: Environment): Value;
}

const Open = Interpreter as unknown as new (
  environment: Environment,
) => OpenInterpreter;

/** Leaves a loop's body with the text that it has made. */
class LoopExit extends Error {
  readonly isBreak: boolean;
  text = "";

  constructor(isBreak: boolean) {
    super(`${isBreak ? "break" : "continue"} stands outside a loop`);
    this.isBreak = isBreak;
  }
}

/** Statements whose value is no text. */
const SILENT = new Set(["Set", "Macro", "Comment"]);
const COMPARISONS: Readonly<Record<string, (order: number) => boolean>> = {
  "<": (order) => order < 0,
  "<=": (order) => order <= 0,
  ">": (order) => order > 0,
  ">=": (order) => order >= 0,
};
const LONGEST_REPEATED = 100_000;

/** The package's interpreter with Python's rules. */
export class PythonInterpreter extends Open {
  override evaluate(node: Node | undefined, environment: Environment): Value {
    if (node?.type === "Known") return (node as AnyNode)["known"] as Value;
    if (node?.type === "Break") throw new LoopExit(true);
    if (node?.type === "Continue") throw new LoopExit(false);
    return super.evaluate(node, environment);
  }

  override evaluateBlock(
    body: readonly Node[],
    environment: Environment,
  ): Value {
    let text = "";
    try {
      for (const statement of body) {
        const value = this.evaluate(statement, environment);
        if (!SILENT.has(statement.type)) text += textOf(value);
      }
    } catch (error) {
      if (error instanceof LoopExit) error.text = text + error.text;
      throw error;
    }
    return valueOf(text);
  }

  /** Each round has a scope of its own: what is set in one is not set in the next. */
  override evaluateFor(node: AnyNode, environment: Environment): Value {
    const iterable = node["iterable"] as AnyNode;
    const isFiltered = iterable.type === "SelectExpression";
    const whole = this.evaluate(
      isFiltered ? iterable["lhs"] as Node : iterable,
      environment,
    );
    const scopeOf = (item: Value): Environment =>
      unpacked(node["loopvar"] as AnyNode, {
        item,
        scope: new Environment(environment),
      });
    const items = iterated(whole).filter((item) =>
      !isFiltered ||
      this.evaluate(iterable["test"] as Node, scopeOf(item)).__bool__().value
    );
    if (items.length === 0) {
      return this.evaluateBlock(node["defaultBlock"] as Node[], environment);
    }
    let text = "";
    for (const [at, item] of items.entries()) {
      const scope = scopeOf(item);
      scope.setVariable("loop", loopValue(items, at));
      try {
        text += textOf(this.evaluateBlock(node["body"] as Node[], scope));
      } catch (error) {
        if (!(error instanceof LoopExit)) throw error;
        text += error.text;
        if (error.isBreak) break;
      }
    }
    return valueOf(text);
  }

  /** A macro sees what stands around it, not around its call. */
  override evaluateMacro(node: AnyNode, environment: Environment): Value {
    const result = super.evaluateMacro(node, environment);
    const name = String((node["name"] as AnyNode)["value"]);
    const macro = environment.lookupVariable(name).value as (
      args: Value[],
      scope: Environment,
    ) => Value;
    environment.setVariable(
      name,
      functionOf((args, scope) => {
        const inner = new Environment(environment);
        const caller = scope.variables.get("caller");
        if (caller !== undefined) inner.setVariable("caller", caller);
        return macro(args, inner);
      }),
    );
    return result;
  }

  override evaluateBinaryExpression(
    node: AnyNode,
    environment: Environment,
  ): Value {
    const operator = (node["operator"] as { readonly value: string }).value;
    if (operator === "and" || operator === "or") {
      return super.evaluateBinaryExpression(node, environment);
    }
    const left = this.evaluate(node["left"] as Node, environment);
    const right = this.evaluate(node["right"] as Node, environment);
    return binary(operator, left, right) ??
      super.evaluateBinaryExpression(
        { ...node, left: known(left), right: known(right) },
        environment,
      );
  }

  override evaluateTestExpression(
    node: AnyNode,
    environment: Environment,
  ): Value {
    const test = TESTS[String((node["test"] as AnyNode)["value"])];
    const value = this.evaluate(node["operand"] as Node, environment);
    if (test !== undefined) {
      return valueOf(test(value, valueOf(undefined)) !== node["negate"]);
    }
    return super.evaluateTestExpression(
      { ...node, operand: known(value) },
      environment,
    );
  }

  override evaluateMemberExpression(
    node: AnyNode,
    environment: Environment,
  ): Value {
    const object = this.evaluate(node["object"] as Node, environment);
    const property = node["property"] as AnyNode;
    if (property.type === "SliceExpression") {
      return super.evaluateMemberExpression(
        { ...node, object: known(object) },
        environment,
      );
    }
    const isComputed = node["computed"] === true;
    const key = isComputed
      ? this.evaluate(property, environment)
      : valueOf(property["value"]);
    const found = member(object, key, isComputed);
    return found ?? super.evaluateMemberExpression(
      { ...node, object: known(object), property: known(key), computed: true },
      environment,
    );
  }

  override applyFilter(
    operand: Value,
    filter: AnyNode,
    environment: Environment,
  ): Value {
    const isCall = filter.type === "CallExpression";
    const name = isCall ? filter["callee"] as AnyNode : filter;
    const own = FILTERS[String(name["value"])];
    if (own === undefined) {
      return super.applyFilter(operand, filter, environment);
    }
    const [positional, named] = isCall
      ? this.evaluateArguments(filter["args"] as Node[], environment)
      : [[], new Map<string, Value>()];
    return own(operand, { positional, named });
  }
}

/** A node whose value is there already. */
function known(value: Value): AnyNode {
  return { type: "Known", known: value } as AnyNode;
}

/** The scope with the loop's variables. */
function unpacked(
  names: AnyNode,
  { item, scope }: { readonly item: Value; readonly scope: Environment },
): Environment {
  if (names.type !== "TupleLiteral") {
    scope.setVariable(String(names["value"]), item);
    return scope;
  }
  const variables = names["value"] as AnyNode[];
  const values = entriesOf(item);
  if (values?.length !== variables.length) {
    throw new Error(
      `${typeName(item)} does not have ${variables.length} parts to unpack`,
    );
  }
  for (const [at, name] of variables.entries()) {
    scope.setVariable(String(name["value"]), values[at]!);
  }
  return scope;
}

function loopValue(items: readonly Value[], at: number): Value {
  const { length } = items;
  const loop = valueOf({
    index: at + 1,
    index0: at,
    revindex: length - at,
    revindex0: length - at - 1,
    first: at === 0,
    last: at === length - 1,
    length,
  });
  const neighbours = loop.value as Map<string, Value>;
  neighbours.set("previtem", items[at - 1] ?? valueOf(undefined));
  neighbours.set("nextitem", items[at + 1] ?? valueOf(undefined));
  neighbours.set(
    "cycle",
    functionOf((args) => args[at % args.length] ?? valueOf(undefined)),
  );
  return loop;
}

/** What Python's operators give, `null` where the package's give the same. */
function binary(operator: string, left: Value, right: Value): Value | null {
  const [a, b] = [left.value, right.value];
  switch (operator) {
    case "==":
      return valueOf(areEqual(left, right));
    case "!=":
      return valueOf(!areEqual(left, right));
    case "~":
      return valueOf(textOf(left) + textOf(right));
    case "in":
      return valueOf(isIn(left, right));
    case "not in":
      return valueOf(!isIn(left, right));
    case "*":
      return repeated(left, right) ?? repeated(right, left);
    case "%":
      return isNumber(left) && isNumber(right) && Number(a) * Number(b) < 0 &&
          Number(a) % Number(b) !== 0
        ? valueOf(Number(a) % Number(b) + Number(b))
        : null;
  }
  const compare = COMPARISONS[operator];
  return compare !== undefined && typeof a === "string" &&
      typeof b === "string"
    ? valueOf(compare(compareCodePoints(a, b)))
    : null;
}

function isNumber({ value }: Value): boolean {
  return typeof value === "number";
}

/** A text or list several times. */
function repeated(whole: Value, { type, value }: Value): Value | null {
  const entries = entriesOf(whole);
  const text = typeof whole.value === "string" ? whole.value : null;
  if (type !== "IntegerValue" || (entries === null && text === null)) {
    return null;
  }
  const times = Math.max(0, Number(value));
  const { length } = text ?? entries!;
  if (times * length > LONGEST_REPEATED) {
    throw new Error(
      `it repeats something to more than ${LONGEST_REPEATED} parts`,
    );
  }
  return text === null
    ? listOf(Array.from({ length: times }, () => entries!).flat())
    : valueOf(text.repeat(times));
}

/** A member that Python finds otherwise; `null` for all others. */
function member(
  object: Value,
  key: Value,
  isComputed: boolean,
): Value | null {
  if (typeof object.value === "string") {
    if (key.type === "IntegerValue") {
      return valueOf([...object.value].at(Number(key.value)));
    }
    return typeof key.value === "string"
      ? methodOf(object.value, key.value)
      : null;
  }
  const mapping = mappingOf(object);
  if (mapping === null || typeof key.value !== "string" || isComputed) {
    return null;
  }
  return /^(?:items|keys|values|get)$/.test(key.value)
    ? object.builtins.get(key.value) ?? null
    : null;
}
