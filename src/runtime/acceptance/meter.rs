//! What a rule may use while it runs. A thread cannot be stopped from outside, so the rule is made to ask: every loop
//! begins each turn with a call that looks at the clock, and every value that a rule makes grow is weighed. Never here: the
//! language itself.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use cel::{
    Env, ExecutionError, Value,
    common::{
        ast::{CallExpr, Expr, IdedExpr, operators},
        types::DYN_TYPE,
        value::CowVal,
    },
};

use crate::runtime::pattern;

/// Bytes that concatenation and `map` may make, in all.
const MAX_BYTES: usize = 16 << 20;
/// Looks at the clock. No rule can write the name: `@` is no character of the language.
const TICK: &str = "@tick";
/// Weighs its argument, looks at the clock, and gives it back.
const WEIGH: &str = "@weigh";
/// `matches`, with a bound on what a pattern may cost on its text.
const MATCHES: &str = "@matches";
/// The name under which a rule calls it.
pub(super) const PLAIN_MATCHES: &str = "matches";

thread_local! {
    static METER: Cell<Meter> = const { Cell::new(Meter { until: None, bytes: 0, spent: false }) };
}

#[derive(Clone, Copy)]
struct Meter {
    until: Option<Instant>,
    bytes: usize,
    spent: bool,
}

/// Runs `work` under a limit of time and bytes; `None` where it ran into one of them.
#[allow(clippy::disallowed_methods)] // A limit of time that the machine's work has, not the domain's.
pub(super) fn limited<T>(wall: Duration, work: impl FnOnce() -> T) -> Option<T> {
    let until = Instant::now() + wall;
    METER.set(Meter { until: Some(until), bytes: 0, spent: false });
    let done = work();
    let spent = METER.get().spent || Instant::now() >= until;
    METER.set(Meter { until: None, bytes: 0, spent: false });
    (!spent).then_some(done)
}

/// The functions that a metered rule calls.
pub(super) fn declare(env: &mut Env) -> Result<(), cel::DeclarationError> {
    env.add_overload(TICK, "tick", Vec::new(), |_| {
        charge(0)?;
        Ok(CowVal::owned(cel::common::types::CelBool::from(true)))
    })?;
    env.add_overload(WEIGH, "weigh", vec![DYN_TYPE], |args| {
        let mut args = args;
        let Some(arg) = args.pop() else { return Err(ExecutionError::missing_argument_or_target()) };
        // What is no plain value (a type) has no size to speak of.
        charge(Value::try_from(&*arg).map_or(0, |value| bytes(&value)))?;
        Ok(arg)
    })?;
    env.add_overload(MATCHES, "matches", vec![DYN_TYPE, DYN_TYPE], |args| {
        charge(0)?;
        let values: Vec<Value> = args.iter().filter_map(|arg| Value::try_from(&**arg).ok()).collect();
        let [Value::String(text), Value::String(pattern)] = values.as_slice() else {
            let types = values.iter().map(|value| value.type_of().to_string()).collect();
            return Err(ExecutionError::no_such_overload(PLAIN_MATCHES, types));
        };
        let matched = pattern::matches(pattern, text)
            .map_err(|fault| ExecutionError::function_error(PLAIN_MATCHES, fault))?;
        Ok(CowVal::owned(cel::common::types::CelBool::from(matched)))
    })
}

#[allow(clippy::disallowed_methods)]
fn charge(more: usize) -> Result<(), ExecutionError> {
    let mut meter = METER.get();
    meter.bytes = meter.bytes.saturating_add(more);
    meter.spent |= meter.bytes > MAX_BYTES || meter.until.is_some_and(|until| Instant::now() >= until);
    METER.set(meter);
    if meter.spent { Err(ExecutionError::function_error("rule", "the limit is reached")) } else { Ok(()) }
}

/// About how many bytes a value takes.
fn bytes(value: &Value) -> usize {
    /// A value by itself.
    const ONE: usize = 32;
    ONE + match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.iter().map(bytes).sum(),
        Value::Map(map) => map.map.values().map(|value| 2 * ONE + bytes(value)).sum(),
        _ => 0,
    }
}

/// Puts the meter into a rule.
pub(super) fn install(expr: &mut IdedExpr) {
    match &mut expr.expr {
        Expr::Comprehension(comprehension) => {
            install(&mut comprehension.iter_range);
            install(&mut comprehension.accu_init);
            install(&mut comprehension.loop_step);
            install(&mut comprehension.result);
            let appends = matches!(comprehension.accu_init.expr, Expr::List(_));
            if appends {
                // `map` and `filter` are fast only while their condition is a constant: the step is metered instead.
                weigh_appended(&mut comprehension.loop_step);
            } else {
                let condition = std::mem::take(&mut comprehension.loop_cond);
                comprehension.loop_cond =
                    call(operators::LOGICAL_AND, vec![call(TICK, Vec::new()), condition]);
            }
        }
        Expr::Call(inner) => {
            let is_sum = inner.func_name == operators::ADD;
            inner.target.iter_mut().for_each(|target| install(target));
            inner.args.iter_mut().for_each(install);
            if inner.func_name == PLAIN_MATCHES {
                MATCHES.clone_into(&mut inner.func_name);
                inner.args.splice(..0, inner.target.take().map(|target| *target));
            }
            let of_accu = inner.args.first().is_some_and(|arg| is_accu(&arg.expr));
            if is_sum && !of_accu {
                let sum = std::mem::take(expr);
                *expr = call(WEIGH, vec![sum]);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(install),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| install_entry(&mut entry.expr)),
        Expr::Struct(strct) => strct.entries.iter_mut().for_each(|entry| install_entry(&mut entry.expr)),
        Expr::Select(select) => install(&mut select.operand),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn install_entry(entry: &mut cel::common::ast::EntryExpr) {
    match entry {
        cel::common::ast::EntryExpr::StructField(field) => install(&mut field.value),
        cel::common::ast::EntryExpr::MapEntry(entry) => {
            install(&mut entry.key);
            install(&mut entry.value);
        }
    }
}

/// The step of `map` and `filter`: `accu + [item]`, or `guard ? accu + [item] : accu`. What is appended is weighed, and so is
/// the guard, which is looked at even where nothing is.
fn weigh_appended(step: &mut IdedExpr) {
    let Expr::Call(outer) = &mut step.expr else { return };
    if outer.func_name == operators::CONDITIONAL {
        if let Some(guard) = outer.args.first_mut() {
            weigh(guard);
        }
        if let Some(append) = outer.args.get_mut(1) {
            weigh_appended(append);
        }
    } else if outer.func_name == operators::ADD
        && let Some(Expr::List(list)) = outer.args.get_mut(1).map(|arg| &mut arg.expr)
    {
        list.elements.iter_mut().for_each(weigh);
    }
}

fn weigh(expr: &mut IdedExpr) {
    let inner = std::mem::take(expr);
    *expr = call(WEIGH, vec![inner]);
}

fn is_accu(expr: &Expr) -> bool {
    matches!(expr, Expr::Ident(name) if name.starts_with('@'))
}

fn call(name: &str, args: Vec<IdedExpr>) -> IdedExpr {
    IdedExpr { id: 0, expr: Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args }) }
}
