/**
 * The house rules as a deno lint plugin, so that an editor shows them as one types:
 * the direction of imports, sizes, pinned packages, quiet libraries. It looks at one
 * file at a time; rules about the whole tree are in `structure_test.ts`.
 *
 * @module
 */

/**
 * Who may import whom. A file imports from its own place and from lines above it,
 * never from below and never from a neighbour on the same line. All that stands
 * above `lib/tensor` and is not `ffi` needs no libtorch.
 */
const LAYERS: readonly (readonly string[])[] = [
  ["lib/input_error.ts"],
  ["lib/formats"],
  ["ffi", "lib/tokenizer", "lib/arguments"],
  ["lib/data"],
  ["lib/tensor"],
  ["lib/nn"],
  ["lib/architectures"],
  ["lib/peft"],
  ["lib/generation"],
  ["lib/training"],
  ["mod.ts"],
  ["tasks"],
  ["bench"],
];

/** Places above `lib/tensor` in the table that must not see `ffi` either. */
const TORCH_FREE = ["lib/data"];

/** The one file of a place that others may import. */
const DOORS: ReadonlyMap<string, string> = new Map([["ffi", "ffi/mod.ts"]]);

const MAX_FUNCTION_LINES = 60;
/** Two and an options object, or the three of a formula such as `attention(query, keys, values)`. */
const MAX_ARGUMENTS = 3;
const OWN_NAME = "@lorikeet/lorikeet";
const ROOT = new URL("../", import.meta.url);

/** The place in {@linkcode LAYERS} of a path relative to the root, if it has one. */
function placeOf(path: string): { name: string; level: number } | undefined {
  for (const [level, names] of LAYERS.entries()) {
    const name = names.find((it) => path === it || path.startsWith(`${it}/`));
    if (name !== undefined) return { name, level };
  }
  return undefined;
}

/** The path of a file relative to the root, with `/` on every system. */
function relativePath(filename: string): string {
  const root = decodeURIComponent(ROOT.pathname);
  const path = filename.replaceAll("\\", "/").replace(/^file:\/\//, "");
  return path.startsWith(root) ? path.slice(root.length) : path;
}

/** The path relative to the root that `specifier` means in `file`, if it is ours. */
function targetOf(specifier: string, file: string): string | undefined {
  if (specifier === OWN_NAME) return "mod.ts";
  if (specifier.startsWith(`${OWN_NAME}/`)) {
    return `lib/${specifier.slice(OWN_NAME.length + 1)}/mod.ts`;
  }
  if (!/^\.{0,2}\//.test(specifier)) return undefined;
  return new URL(specifier, `file:///${file}`).pathname.slice(1);
}

/** Why `file` must not import `target`, or undefined where it may. */
function layerProblem(file: string, target: string): string | undefined {
  const from = placeOf(file);
  const to = placeOf(target);
  if (from === undefined || from.name === to?.name) return undefined;
  const start = `Cannot import "${target}" in "${file}": `;
  if (to === undefined) {
    return start + "it has no place in LAYERS of tests/lint_plugin.ts";
  }
  if (to.name === "ffi" && TORCH_FREE.includes(from.name)) {
    return start + `"${from.name}" works without libtorch`;
  }
  if (to.level >= from.level) {
    return start +
      `"${from.name}" imports only what stands above it in LAYERS of tests/lint_plugin.ts`;
  }
  const door = DOORS.get(to.name);
  if (door === undefined || door === target) return undefined;
  return start + `others import "${door}" only`;
}

/** Calls `visit` with every module specifier that a file writes. */
function specifiers(
  visit: (specifier: string, node: Deno.lint.Node) => void,
): Deno.lint.LintVisitor {
  const literal = (node: Deno.lint.Node | null): void => {
    if (node?.type === "Literal" && typeof node.value === "string") {
      visit(node.value, node);
    }
  };
  return {
    ImportDeclaration: (node) => literal(node.source),
    ExportNamedDeclaration: (node) => literal(node.source),
    ExportAllDeclaration: (node) => literal(node.source),
    ImportExpression: (node) => literal(node.source),
    TSImportType: (node) => {
      if (node.argument.type === "TSLiteralType") {
        literal(node.argument.literal);
      }
    },
  };
}

const layers: Deno.lint.Rule = {
  create(context): Deno.lint.LintVisitor {
    const file = relativePath(context.filename);
    const homeless = file.startsWith("lib/") && placeOf(file) === undefined;
    if (homeless) {
      const message =
        `Cannot place "${file}": give its folder a line in LAYERS of tests/lint_plugin.ts`;
      return { Program: (node) => context.report({ node, message }) };
    }
    return specifiers((specifier, node) => {
      const target = targetOf(specifier, file);
      if (target === undefined) return;
      const message = layerProblem(file, target);
      if (message !== undefined) context.report({ node, message });
    });
  },
};

const npmPinned: Deno.lint.Rule = {
  create(context): Deno.lint.LintVisitor {
    return specifiers((specifier, node) => {
      const pinned = /^npm:(@[\w.-]+\/)?[\w.-]+@\d+\.\d+\.\d+(-[\w.]+)?(\/|$)/;
      if (specifier.startsWith("npm:") && !pinned.test(specifier)) {
        context.report({
          node,
          message:
            `Cannot import "${specifier}": its version is open, write it in full ("npm:name@1.2.3")`,
        });
      }
      if (/^(https?|jsr):/.test(specifier)) {
        context.report({
          node,
          message:
            `Cannot import "${specifier}": packages come as "npm:name@1.2.3" only`,
        });
      }
    });
  },
};

const functionLength: Deno.lint.Rule = {
  create(context): Deno.lint.LintVisitor {
    const check = (
      node:
        | Deno.lint.FunctionDeclaration
        | Deno.lint.FunctionExpression
        | Deno.lint.ArrowFunctionExpression,
    ): void => {
      const lines = context.sourceCode.getText(node).split("\n").length;
      if (lines <= MAX_FUNCTION_LINES) return;
      context.report({
        node,
        message:
          `Function has ${lines} lines, at most ${MAX_FUNCTION_LINES} are read with pleasure`,
      });
    };
    return {
      FunctionDeclaration: check,
      FunctionExpression: check,
      ArrowFunctionExpression: check,
    };
  },
};

/** What parameter lists are read from. */
type AnyFunction =
  | Deno.lint.FunctionDeclaration
  | Deno.lint.TSDeclareFunction
  | Deno.lint.ArrowFunctionExpression
  | Deno.lint.FunctionExpression;

/** The functions that a top-level statement declares, by name. */
function declaredFunctions(
  statement: Deno.lint.Node | null,
): [string, AnyFunction][] {
  switch (statement?.type) {
    case "FunctionDeclaration":
    case "TSDeclareFunction":
      return [[statement.id?.name ?? "", statement]];
    case "VariableDeclaration":
      return statement.declarations.flatMap((
        { id, init },
      ): [string, AnyFunction][] =>
        id.type === "Identifier" &&
          (init?.type === "ArrowFunctionExpression" ||
            init?.type === "FunctionExpression")
          ? [[id.name, init]]
          : []
      );
    default:
      return [];
  }
}

/** The exported functions of a file, `export { name }` included. */
function exportedFunctions(
  program: Deno.lint.Program,
): [string, AnyFunction][] {
  const local = new Map(
    program.body.flatMap((statement) => declaredFunctions(statement)),
  );
  return program.body.flatMap((statement): [string, AnyFunction][] => {
    if (statement.type !== "ExportNamedDeclaration") return [];
    const listed = statement.source === null ? statement.specifiers : [];
    const named = listed.flatMap((it): [string, AnyFunction][] => {
      const name = it.local.type === "Identifier" ? it.local.name : "";
      const found = local.get(name);
      return found === undefined ? [] : [[name, found]];
    });
    return [...declaredFunctions(statement.declaration), ...named];
  });
}

const exportedFunctionArguments: Deno.lint.Rule = {
  create(context): Deno.lint.LintVisitor {
    return {
      Program(program): void {
        for (const [name, node] of exportedFunctions(program)) {
          const parameters = node.params.filter((it) =>
            it.type !== "Identifier" || it.name !== "this"
          );
          if (parameters.length <= MAX_ARGUMENTS) continue;
          context.report({
            node,
            message:
              `${name}() takes ${parameters.length} arguments, at most ${MAX_ARGUMENTS} are clear at a call`,
          });
        }
      },
    };
  },
};

const noPrivateKeyword: Deno.lint.Rule = {
  create(context): Deno.lint.LintVisitor {
    const report = (node: Deno.lint.Node): void =>
      context.report({
        node,
        message: "`private` ends at the compiler, name the member `#name`",
      });
    const check = (
      node: Deno.lint.Node & { accessibility?: string | undefined },
    ): void => {
      if (node.accessibility === "private") report(node);
    };
    return {
      MethodDefinition: check,
      PropertyDefinition: check,
      AccessorProperty: check,
      // Deno 2.9 leaves `accessibility` out of parameter properties
      TSParameterProperty: (node) => {
        if (/^private\b/.test(context.sourceCode.getText(node))) report(node);
      },
    };
  },
};

const noDefaultExport: Deno.lint.Rule = {
  create(context): Deno.lint.LintVisitor {
    return {
      ExportDefaultDeclaration(node): void {
        context.report({ node, message: "Exports have names here" });
      },
    };
  },
};

const quietLibrary: Deno.lint.Rule = {
  create(context): Deno.lint.LintVisitor {
    const place = placeOf(relativePath(context.filename))?.name;
    const speaks = place === undefined || ["tasks", "bench"].includes(place);
    if (speaks) return {};
    return {
      MemberExpression(node): void {
        const text = context.sourceCode.getText(node);
        if (!/^(console\.\w+|Deno\.std(out|err))$/.test(text)) return;
        context.report({
          node,
          message: `Cannot use ${text} here: only tasks/ and bench/ print`,
        });
      },
    };
  },
};

const plugin: Deno.lint.Plugin = {
  name: "lorikeet",
  rules: {
    layers,
    "npm-pinned": npmPinned,
    "function-length": functionLength,
    "exported-function-arguments": exportedFunctionArguments,
    "no-private-keyword": noPrivateKeyword,
    "no-default-export": noDefaultExport,
    "quiet-library": quietLibrary,
  },
};

// deno lint takes a plugin as the default export and in no other way
// deno-lint-ignore lorikeet/no-default-export
export default plugin;
