/**
 * ATen operator schemas. Each is read twice from the same line of text: by the
 * TypeScript compiler, which derives the types of arguments and results, and at
 * the first call, which derives how each argument is written on the dispatcher's
 * stack. The texts are PyTorch's (`native_functions.yaml`) without alias marks
 * and `*`.
 *
 * @module
 */

import type { DType } from "../lib/formats/dtype.ts";

/**
 * Any object that owns a tensor handle; the class is in `lib/tensor`.
 *
 * @internal
 */
export interface HandleOwner {
  /** The native handle, valid until the owner is disposed. */
  readonly unsafeHandle: TensorHandle;
}

/**
 * An `AtenTensorHandle`; the brand keeps other integers from being passed as one.
 *
 * @internal
 */
export type TensorHandle = bigint & { readonly brand: "AtenTensorHandle" };

/** What a caller passes for each schema type. */
interface ArgumentTypes {
  "Tensor": HandleOwner;
  "Tensor[]": readonly HandleOwner[];
  "int": number;
  "int[]": readonly number[];
  "float": number;
  "bool": boolean;
  "str": string;
  "ScalarType": DType;
  "Layout": never;
  "Device": DeviceCode;
  "MemoryFormat": never;
  "Generator": never;
}

/** What a call returns for each schema type; `T` stands for a tensor. */
interface ResultTypes<T> {
  "Tensor": T;
  "Tensor[]": T[];
  "int": number;
  "float": number;
  "bool": boolean;
}

/**
 * A device in the dispatcher's encoding: its type in the upper half, its index
 * in the lower.
 */
export type DeviceCode = bigint;

type Spelled<S extends string> = S extends `SymInt${infer Rest}` ? `int${Rest}`
  : S;

type BaseOf<S extends string> = S extends `${infer Base}?` ? Spelled<Base>
  : Spelled<S>;

type ArgumentOf<S extends string> =
  | (BaseOf<S> extends keyof ArgumentTypes ? ArgumentTypes[BaseOf<S>] : never)
  | (S extends `${string}?` ? null : never);

// An unknown type turns the whole list into `never`, since spreading `never`
// gives `never`.
type Parameter<S extends string> = S extends `${infer Type} ${infer Name}`
  ? BaseOf<Type> extends keyof ArgumentTypes
    ? Name extends `${string}=${string}` ? [value?: ArgumentOf<Type>]
    : [value: ArgumentOf<Type>]
  : never
  : S extends "" ? []
  : never;

/**
 * The argument types of a comma-separated list.
 *
 * @internal
 */
type Parameters<S extends string> = S extends `${infer Head}, ${infer Tail}`
  ? [...Parameter<Head>, ...Parameters<Tail>]
  : Parameter<S>;

type ResultOf<S extends string, T> = Spelled<S> extends keyof ResultTypes<T>
  ? [ResultTypes<T>[Spelled<S>]]
  : never;

type ResultTuple<S extends string, T> = S extends `${infer Head}, ${infer Tail}`
  ? [...ResultOf<Head, T>, ...ResultTuple<Tail, T>]
  : ResultOf<S, T>;

/**
 * The type of the part after a schema's arrow.
 *
 * @internal
 */
type Result<S extends string, T> = S extends "()" ? void
  : S extends `(${infer Inner})` ? ResultTuple<Inner, T>
  : ResultOf<S, T>[0];

/**
 * The function from `Values` to `Returned`, or `never` where either of them is
 * `never`.
 *
 * @internal
 */
type FunctionOf<Values extends unknown[], Returned> = [Values] extends [never]
  ? never
  : [Returned] extends [never] ? never
  : (...values: Values) => Returned;

/**
 * The typed function that a schema text describes. Results of type tensor have
 * type `T`. A text that the compiler cannot parse gives `never`.
 *
 * @internal
 */
export type OperatorOf<S extends string, T> = S extends
  `aten::${string}(${infer Arguments}) -> ${infer Returned}`
  ? FunctionOf<Parameters<Arguments>, Result<Returned, T>>
  : never;

/** One argument of a schema, ready to be written. */
export interface ArgumentSpec {
  /** The schema type without `?`; `SymInt` is spelled `int`. */
  readonly type: keyof ArgumentTypes;
  /** Whether `null` may be passed. */
  readonly optional: boolean;
  /** The name in the schema, for messages. */
  readonly name: string;
  /** The value used when the caller passes none. */
  readonly fallback: unknown;
}

/** The parts of a schema text. */
export interface OperatorSchema {
  /** `aten::name` */
  readonly name: string;
  /** The overload, often empty. */
  readonly overload: string;
  readonly arguments: readonly ArgumentSpec[];
  readonly results: readonly (keyof ResultTypes<unknown>)[];
}

/**
 * Splits a schema text into its parts.
 *
 * @throws {SyntaxError} when `text` is not of the form `aten::name[.overload](…) -> …`.
 */
export function parseSchema(text: string): OperatorSchema {
  const match = /^(aten::\w+)(?:\.(\w+))?\((.*)\) -> \(?(.*?)\)?$/.exec(text);
  if (match === null) throw new SyntaxError(`Cannot read schema "${text}"`);
  const [, name = "", overload = "", parameters = "", results = ""] = match;
  return {
    name,
    overload,
    arguments: splitList(parameters).map(parseArgument),
    results: splitList(results).map((type) =>
      spell(type) as keyof ResultTypes<unknown>
    ),
  };
}

function splitList(text: string): string[] {
  return text === "" ? [] : text.split(", ");
}

function spell(type: string): string {
  return type.replace(/^SymInt/, "int");
}

function parseArgument(text: string): ArgumentSpec {
  const [type = "", declared = ""] = text.split(" ");
  const [name = "", fallback] = declared.split("=");
  return {
    type: spell(type.replace(/\?$/, "")) as keyof ArgumentTypes,
    optional: type.endsWith("?"),
    name,
    fallback: fallback === undefined ? undefined : parseFallback(fallback),
  };
}

function parseFallback(text: string): unknown {
  if (text === "None") return null;
  if (text === "True" || text === "False") return text === "True";
  if (text === "[]") return [];
  if (text.startsWith("'")) return text.slice(1, -1);
  return Number(text);
}
