//! What an expression names: nothing that is not there when it is evaluated.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use super::NoExpression;

/// The functions that expressions may call, besides operators and macros.
const FUNCTIONS: &[&str] = &[
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];
/// What `type(x)` may be compared with.
const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];
/// Words that the language keeps for itself.
const RESERVED: &[&str] = &["event", "false", "in", "metadata", "null", "true"];
/// How names begin that cannot be written: what macros make has them.
const MADE: char = '@';

/// Whether something may have this name in expressions.
pub(crate) fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(is_letter)
        && text.chars().all(|c| is_letter(c) || c.is_ascii_digit())
        && !RESERVED.contains(&text)
        && !TYPES.contains(&text)
}

/// Whether every name is one of these variables, of a loop around it, or one of the language's.
pub(super) fn check(expression: &IdedExpr, variables: &[&str]) -> Result<(), NoExpression> {
    match &expression.expr {
        Expr::Ident(name) if !knows(name, variables) => Err(NoExpression(format!(
            "names {name}, which is not there; there are {}",
            variables.join(", ")
        ))),
        Expr::Call(call) if !is_function(&call.func_name) => Err(NoExpression(format!(
            "calls {}, which is not there; there are {}",
            call.func_name,
            FUNCTIONS.join(", ")
        ))),
        Expr::Struct(made) => Err(NoExpression(format!(
            "makes a {}; there are no such types, only lists and maps",
            made.type_name
        ))),
        Expr::Comprehension(comprehension) => {
            check(&comprehension.iter_range, variables)?;
            check(&comprehension.accu_init, variables)?;
            let mut inside = variables.to_vec();
            inside.push(&comprehension.iter_var);
            check(&comprehension.loop_cond, &inside)?;
            check(&comprehension.loop_step, &inside)?;
            check(&comprehension.result, &inside)
        }
        _ => {
            let mut checked = Ok(());
            for_each_child(expression, &mut |child| {
                if checked.is_ok() {
                    checked = check(child, variables);
                }
            });
            checked
        }
    }
}

fn knows(name: &str, variables: &[&str]) -> bool {
    name.starts_with(MADE) || variables.contains(&name) || TYPES.contains(&name)
}

/// Operators have names that no function can have.
fn is_function(name: &str) -> bool {
    FUNCTIONS.contains(&name) || !name.starts_with(|c: char| c.is_ascii_alphabetic())
}

/// Shows every part of an expression that is itself one.
pub(super) fn for_each_child<'e>(expression: &'e IdedExpr, show: &mut impl FnMut(&'e IdedExpr)) {
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(show),
        Expr::List(list) => list.elements.iter().for_each(show),
        Expr::Select(select) => show(&select.operand),
        Expr::Map(map) => map.entries.iter().for_each(|entry| show_entry(&entry.expr, show)),
        Expr::Struct(made) => made.entries.iter().for_each(|entry| show_entry(&entry.expr, show)),
        Expr::Comprehension(comprehension) => {
            show(&comprehension.iter_range);
            show(&comprehension.accu_init);
            show(&comprehension.loop_cond);
            show(&comprehension.loop_step);
            show(&comprehension.result);
        }
    }
}

fn show_entry<'e>(entry: &'e EntryExpr, show: &mut impl FnMut(&'e IdedExpr)) {
    match entry {
        EntryExpr::StructField(field) => show(&field.value),
        EntryExpr::MapEntry(entry) => {
            show(&entry.key);
            show(&entry.value);
        }
    }
}
