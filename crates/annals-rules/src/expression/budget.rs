//! What an evaluation may take.
//!
//! The interpreter counts nothing, so the compiled expression does it itself: whatever is looked
//! at as a whole goes through a function that takes its size from the budget, and what is looped
//! over pays beforehand for every node of the loop's body and every element. When the budget is
//! spent that function fails. Nothing else is asked about, so that the same expression over the
//! same values always takes the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::ast::operators::{
    ADD, CONDITIONAL, INDEX, LOGICAL_AND, LOGICAL_NOT, LOGICAL_OR, NOT_STRICTLY_FALSE,
};
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::common::types::{CelBytes, CelInt, CelList, CelMap, CelString};
use cel::common::value::{CowVal, Val};
use cel::functions::FunctionContext;
use cel::{Context, ExecutionError};

use super::size_of;

/// The function that takes from the budget: of a value, and of so many nodes for each of its
/// elements. No expression can name it.
const METER: &str = "@meter";
/// How many bytes of text are one step.
const STEP_BYTES: u64 = 64;

/// How many steps are left to the evaluations of one rule for one event. Clones share them.
#[derive(Clone)]
pub(crate) struct Budget(Arc<AtomicU64>);

type Function = Box<
    dyn for<'c, 'v> Fn(&mut FunctionContext<'c, 'v>) -> Result<CowVal<'c, 'v>, ExecutionError>
        + Send
        + Sync,
>;

impl Budget {
    /// How many steps there are: some 10 ms.
    pub(crate) const STEPS_MAX: u64 = 100_000;

    pub(super) fn is_spent(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Gives expressions what takes from it.
    pub(super) fn meter(&self, context: &mut Context<'static, 'static>) {
        let budget = self.clone();
        let meter: Function = Box::new(move |call| {
            let nodes = call.args.pop().and_then(|nodes| {
                let nodes = *nodes.downcast_ref::<CelInt>()?.inner();
                u64::try_from(nodes).ok()
            });
            let value = call.args.pop();
            let (Some(value), Some(nodes)) = (value, nodes) else {
                return Err(call.error("takes a value and a number"));
            };
            let steps = steps_of(value.as_ref(), budget.left());
            let loops = elements_of(value.as_ref()).saturating_mul(nodes);
            if budget.take(steps.saturating_add(loops)) {
                Ok(value)
            } else {
                Err(call.error("the budget is spent"))
            }
        });
        context.add_function(METER, meter).expect("no function of the library begins with an @");
    }

    fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether so many steps were left. What is not enough is gone.
    fn take(&self, steps: u64) -> bool {
        let left = self.left().saturating_sub(steps);
        self.0.store(left, Ordering::Relaxed);
        left > 0
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(Self::STEPS_MAX)))
    }
}

/// How many steps it takes to look at all of a value; no further than `enough`.
fn steps_of(value: &(dyn Val + '_), enough: u64) -> u64 {
    let of_bytes = |bytes: usize| 1 + bytes as u64 / STEP_BYTES;
    let mut steps = 1;
    if let Some(text) = value.downcast_ref::<CelString>() {
        steps = of_bytes(text.inner().len());
    } else if let Some(bytes) = value.downcast_ref::<CelBytes>() {
        steps = of_bytes(bytes.inner().len());
    } else if let Some(list) = value.downcast_ref::<CelList>() {
        for element in list.inner() {
            if steps > enough {
                break;
            }
            steps += steps_of(element.as_ref(), enough);
        }
    } else if let Some(map) = value.downcast_ref::<CelMap>() {
        for (key, element) in map.inner() {
            if steps > enough {
                break;
            }
            steps += steps_of(key.inner(), enough) + steps_of(element.as_ref(), enough);
        }
    }
    steps
}

/// How often a loop over it goes round.
fn elements_of(value: &(dyn Val + '_)) -> u64 {
    let list = value.downcast_ref::<CelList>().map(|list| list.inner().len());
    let map = value.downcast_ref::<CelMap>().map(|map| map.inner().len());
    list.or(map).unwrap_or_default() as u64
}

/// The same expression, taking from the budget what it costs.
pub(super) fn metered(mut expression: IdedExpr) -> IdedExpr {
    meter_inside(&mut expression);
    meter(&mut expression, 0);
    expression
}

fn meter_inside(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Select(select) => meter_inside(&mut select.operand),
        Expr::Call(call) => meter_call(call),
        Expr::List(list) => list.elements.iter_mut().for_each(meter_whole),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| meter_entry(&mut entry.expr)),
        Expr::Struct(made) => {
            made.entries.iter_mut().for_each(|entry| meter_entry(&mut entry.expr));
        }
        Expr::Comprehension(comprehension) => {
            let (body, _) = size_of(&comprehension.loop_step);
            meter_inside(&mut comprehension.iter_range);
            let nodes = i64::try_from(body + 2).expect("an expression has few nodes");
            meter(&mut comprehension.iter_range, nodes);
            // What macros make around the loop is cheap, and has a form that the interpreter knows.
            meter_step(&mut comprehension.loop_step);
        }
    }
}

/// A call looks at the whole of its arguments, but for those that only choose.
fn meter_call(call: &mut CallExpr) {
    let chooses = [CONDITIONAL, INDEX, LOGICAL_AND, LOGICAL_NOT, LOGICAL_OR, NOT_STRICTLY_FALSE];
    let only_inside = chooses.contains(&&*call.func_name);
    for part in call.target.as_deref_mut().into_iter().chain(&mut call.args) {
        if only_inside { meter_inside(part) } else { meter_whole(part) }
    }
}

/// The step of a loop: something done to the result so far, which is not looked at again each
/// time.
fn meter_step(step: &mut IdedExpr) {
    match &mut step.expr {
        // `guard ? step : result`
        Expr::Call(call) if call.func_name == CONDITIONAL && is_made(call.args.last()) => {
            let [guard, step, _] = &mut *call.args else { return };
            meter_inside(guard);
            meter_step(step);
        }
        // `result + [element]`
        Expr::Call(call) if call.func_name == ADD && is_made(call.args.first()) => {
            call.args.iter_mut().for_each(meter_inside);
        }
        _ => meter_inside(step),
    }
}

/// Whether it is a variable that a macro has made: the result of a loop so far.
fn is_made(expression: Option<&IdedExpr>) -> bool {
    matches!(expression.map(|made| &made.expr), Some(Expr::Ident(name)) if name.starts_with('@'))
}

fn meter_entry(entry: &mut EntryExpr) {
    match entry {
        EntryExpr::StructField(field) => meter_whole(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            meter_whole(&mut entry.key);
            meter_whole(&mut entry.value);
        }
    }
}

fn meter_whole(expression: &mut IdedExpr) {
    meter_inside(expression);
    // A list or a map that is written down has been paid for, element by element.
    if !matches!(expression.expr, Expr::List(_) | Expr::Map(_) | Expr::Literal(_)) {
        meter(expression, 0);
    }
}

fn meter(expression: &mut IdedExpr, nodes: i64) {
    let id = expression.id;
    let value = std::mem::take(expression);
    let nodes = IdedExpr { id, expr: Expr::Literal(LiteralValue::Int(nodes.into())) };
    let call = CallExpr { func_name: METER.to_owned(), target: None, args: vec![value, nodes] };
    *expression = IdedExpr { id, expr: Expr::Call(call) };
}
