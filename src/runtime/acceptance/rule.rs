//! One rule: parsed, held to its bounds, metered, and then evaluated. Parsing recurses, so the text's nesting is bounded
//! before and it has a stack of its own; evaluation recurses as deep as the parsed rule, which is bounded too.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
    thread,
    time::Duration,
};

use cel::{
    Context, Env, ExecutionError, Value,
    common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SourceInfo},
    parser::Parser,
};

use super::{
    meter,
    values::{NAMES, Subject},
};
use crate::runtime::pattern;

/// Brackets inside each other, at most; and the depth of a parsed rule.
const MAX_NESTING: usize = 24;
const MAX_DEPTH: usize = 96;
/// Loops inside each other, at most.
const MAX_LOOPS: usize = 2;
/// The stack that parsing has, in bytes: what fits into a rule's characters does not use it up.
const PARSE_STACK: usize = 64 << 20;

/// Names of types, which may be compared with `type(x)`.
const TYPES: [&str; 9] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];
/// Functions a rule may call; operators beside them.
const FUNCTIONS: [&str; 13] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// The language, with the meter's functions. The standard library declares each of its own once.
static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::default().with_optional_support(false).with_stdlib();
    meter::declare(&mut env).expect("no standard function has the meter's names");
    Arc::new(env)
});

/// A rule that can be evaluated.
#[derive(Debug)]
pub(super) struct Rule {
    expr: IdedExpr,
}

/// Why a rule says neither yes nor no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no rule: what is wrong, and where.
    Syntax(String),
    /// It speaks of what is not there, or of what is there in a way that cannot work.
    Run(String),
    /// It yields something else than a true or a false.
    NotBool(String),
    /// It ran into its limit of time or size.
    TooCostly,
    /// The interpreter failed.
    Broken,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(what) | Self::Run(what) => f.write_str(what),
            Self::NotBool(kind) => {
                write!(f, "yields {kind}, and a rule yields true or false: write a comparison")
            }
            Self::TooCostly => f.write_str("the rule took too long or made too much: loop over less"),
            Self::Broken => f.write_str("the interpreter failed on it: write it in another way"),
        }
    }
}

impl Rule {
    /// A rule from its text.
    pub(super) fn compile(text: &str) -> Result<Self, Fault> {
        bounded(text)?;
        let (mut expr, source) = parse(text)?;
        Lint { source: &source, text, scopes: Vec::new(), loops: 0, depth: 0 }.expr(&expr)?;
        meter::install(&mut expr);
        Ok(Self { expr })
    }

    /// Whether it holds for a subject.
    pub(super) fn holds(&self, subject: &Subject, wall: Duration) -> Result<bool, Fault> {
        match self.evaluate(subject, wall)? {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(Fault::NotBool(kind_of(&other))),
            Err(error) => Err(Fault::Run(error.to_string())),
        }
    }

    /// Whether it can work on subjects of this shape. Where the shape has holes (`is_whole` is false), only what cannot be
    /// the holes' fault counts.
    pub(super) fn fits(&self, subject: &Subject, wall: Duration, is_whole: bool) -> Result<(), Fault> {
        match self.evaluate(subject, wall)? {
            Ok(Value::Bool(_)) => Ok(()),
            Ok(Value::Null) if !is_whole => Ok(()),
            Ok(other) => Err(Fault::NotBool(kind_of(&other))),
            Err(error) if is_of_shape(&error) && is_whole => Err(Fault::Run(format!(
                "cannot run on a result made from result_schema: {error}. Declare it there, or ask first with has()"
            ))),
            Err(_) => Ok(()),
        }
    }

    fn evaluate(&self, subject: &Subject, wall: Duration) -> Result<Result<Value, ExecutionError>, Fault> {
        let run = || {
            let mut context = Context::with_env(Arc::clone(&ENV));
            subject.bind(&mut context);
            Value::resolve(&self.expr, &context)
        };
        let limited = meter::limited(wall, || catch_unwind(AssertUnwindSafe(run)));
        limited.ok_or(Fault::TooCostly)?.map_err(|_| Fault::Broken)
    }
}

/// Errors that hang on the shape of what a rule is given, not on its values.
const fn is_of_shape(error: &ExecutionError) -> bool {
    !matches!(
        error,
        ExecutionError::FunctionError { .. }
            | ExecutionError::DivisionByZero(_)
            | ExecutionError::RemainderByZero(_)
            | ExecutionError::Overflow(..)
            | ExecutionError::IndexOutOfBounds(_)
    )
}

fn kind_of(value: &Value) -> String {
    format!("a value of type {}", value.type_of())
}

/// Nesting by brackets and by signs before a value, looked at in the text, so that no parser recurses deeper.
fn bounded(text: &str) -> Result<(), Fault> {
    let (mut depth, mut signs, mut quote) = (0_usize, 0_usize, None);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(_), '\\') => drop(chars.next()),
            (Some(open), char) if char == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(char),
            (None, '(' | '[' | '{' | '?') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
        signs = if quote.is_none() && matches!(char, '!' | '-') { signs + 1 } else { 0 };
        if depth > MAX_NESTING || signs > MAX_NESTING {
            return Err(Fault::Syntax(format!(
                "nests deeper than {MAX_NESTING} levels: write a simpler rule"
            )));
        }
    }
    Ok(())
}

/// Parses on a thread of its own, whose stack is deep.
fn parse(text: &str) -> Result<(IdedExpr, SourceInfo), Fault> {
    let source = text.to_owned();
    let run = move || parser().parse_with_source_info(&source);
    let thread = thread::Builder::new().name("rule".to_owned()).stack_size(PARSE_STACK);
    let parsed = thread.spawn(move || {
        let parsed = catch_unwind(run).map_err(|_| Fault::Broken)?;
        // Errors are not to leave their thread: they hold what cannot.
        parsed.map_err(|errors| {
            let each = errors.errors.iter().take(3).map(|error| {
                let (line, column) = error.pos;
                format!("line {line}, character {column}: {}", error.msg)
            });
            Fault::Syntax(format!("is no CEL expression: {}", each.collect::<Vec<_>>().join("; ")))
        })
    });
    parsed.map_err(|_| Fault::Broken)?.join().map_err(|_| Fault::Broken)?
}

fn parser() -> Parser {
    Parser::new().max_recursion_depth(u16::try_from(MAX_DEPTH).unwrap_or(u16::MAX)).error_recovery_limit(3)
}

/// Looks for names and functions that do not exist, and for what goes too deep.
struct Lint<'a> {
    source: &'a SourceInfo,
    text: &'a str,
    scopes: Vec<&'a str>,
    loops: usize,
    depth: usize,
}

impl<'a> Lint<'a> {
    fn at(&self, id: u64) -> String {
        let start = self.source.offset_for(id).map_or(0, |(start, _)| start);
        let shown: String = self.text.chars().skip(usize::try_from(start).unwrap_or(0)).take(24).collect();
        format!("at character {}, {shown:?}", start + 1)
    }

    fn expr(&mut self, expr: &'a IdedExpr) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Fault::Syntax(format!("goes {MAX_DEPTH} levels deep: write several rules")));
        }
        self.node(expr)?;
        self.depth -= 1;
        Ok(())
    }

    fn node(&mut self, expr: &'a IdedExpr) -> Result<(), Fault> {
        match &expr.expr {
            Expr::Ident(name) => self.name(expr.id, name),
            Expr::Call(call) => {
                self.function(expr.id, &call.func_name)?;
                self.pattern(expr.id, call)?;
                call.target.iter().try_for_each(|target| self.expr(target))?;
                call.args.iter().try_for_each(|arg| self.expr(arg))
            }
            Expr::Comprehension(comprehension) => {
                self.expr(&comprehension.iter_range)?;
                self.loops += 1;
                if self.loops > MAX_LOOPS {
                    let at = self.at(expr.id);
                    return Err(Fault::Syntax(format!(
                        "{at}: has more than {MAX_LOOPS} loops inside each other"
                    )));
                }
                let outside = self.scopes.len();
                self.scopes.extend([comprehension.iter_var.as_str(), comprehension.accu_var.as_str()]);
                self.scopes.extend(comprehension.iter_var2.as_deref());
                self.expr(&comprehension.accu_init)?;
                self.expr(&comprehension.loop_cond)?;
                self.expr(&comprehension.loop_step)?;
                self.expr(&comprehension.result)?;
                self.scopes.truncate(outside);
                self.loops -= 1;
                Ok(())
            }
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.expr(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(&entry.expr)),
            Expr::Select(select) => self.expr(&select.operand),
            Expr::Struct(_) => {
                Err(Fault::Syntax(format!("{}: makes a message, and there are none", self.at(expr.id))))
            }
            Expr::Literal(_) | Expr::Unspecified => Ok(()),
        }
    }

    fn entry(&mut self, entry: &'a EntryExpr) -> Result<(), Fault> {
        match entry {
            EntryExpr::StructField(field) => self.expr(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.expr(&entry.key)?;
                self.expr(&entry.value)
            }
        }
    }

    fn name(&self, id: u64, name: &str) -> Result<(), Fault> {
        let known = NAMES.contains(&name) || TYPES.contains(&name) || self.scopes.contains(&name);
        if known {
            return Ok(());
        }
        let names = NAMES.join(", ");
        Err(Fault::Syntax(format!("{}: {name} is not a name here: write one of {names}", self.at(id))))
    }

    /// A pattern that stands in the rule itself is one.
    fn pattern(&self, id: u64, call: &CallExpr) -> Result<(), Fault> {
        let written = call.args.last().map(|arg| &arg.expr);
        let Some(Expr::Literal(LiteralValue::String(text))) = written else { return Ok(()) };
        let fault = (call.func_name == meter::PLAIN_MATCHES).then(|| pattern::fault(text.inner())).flatten();
        fault.map_or(Ok(()), |fault| Err(Fault::Syntax(format!("{}: is no pattern: {fault}", self.at(id)))))
    }

    fn function(&self, id: u64, name: &str) -> Result<(), Fault> {
        let is_operator =
            name.contains(['_', '@', '!']) && !name.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_operator || FUNCTIONS.contains(&name) {
            return Ok(());
        }
        let functions = FUNCTIONS.join(", ");
        Err(Fault::Syntax(format!(
            "{}: {name} is no function: there are {functions}, and the macros has, all, exists, exists_one, map, filter",
            self.at(id)
        )))
    }
}
