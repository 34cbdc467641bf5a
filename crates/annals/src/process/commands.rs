//! The commands that can be stored, and executed by whoever reads them.

use std::any::{TypeId, type_name};
use std::fmt;
use std::pin::Pin;

use annals_core::{Position, StreamId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::issued::IssueError;
use crate::execute::name_of;
use crate::refusal::is_refusal;
use crate::{Aggregate, Annals, Command, ExecuteError, ReactError};

/// Commands that may be stored, each under a name: those of a process manager, or those that are
/// [scheduled](crate::Annals::schedule).
///
/// The names are stored, so they stay when a type is renamed; and the fields of a command are
/// stored as JSON, so they change as those of an event do, with `#[serde(default)]`.
///
/// ```
/// # use annals::{Aggregate, Apply, Command, Event};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Event)] enum OrderEvent { OrderCancelled }
/// # #[derive(Default, Aggregate)] #[aggregate(category = "order", event = OrderEvent)] struct Order;
/// # impl Apply<OrderEvent> for Order { fn apply(&mut self, _: OrderEvent) {} }
/// # impl Command<Order> for CancelOrder {
/// #     type Error = std::convert::Infallible;
/// #     fn decide(self, _: &Order) -> Result<Vec<OrderEvent>, Self::Error> { Ok(vec![]) }
/// # }
/// use annals::process::Commands;
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct CancelOrder { why: String }
///
/// let commands = Commands::new().with::<Order, CancelOrder>("CancelOrder");
/// ```
#[derive(Clone, Default)]
pub struct Commands(Vec<Known>);

#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) types: TypeId,
    pub(super) execute: Execute,
}

type Execute = for<'a> fn(&'a Annals, StreamId, Value, String) -> Executing<'a>;
type Executing<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failed>> + Send + 'a>>;

/// What came of a command.
pub(super) enum Answer {
    Accepted {
        position: Position,
        /// Whether there is an event by which it is known to have been executed.
        left_events: bool,
    },
    Refused {
        code: &'static str,
        message: String,
    },
}

/// Why there is no answer.
pub(super) enum Failed {
    /// Something else is recorded under its id.
    IdTaken,
    Otherwise(ReactError),
}

impl Commands {
    /// No commands.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with this command to this aggregate, under this name.
    ///
    /// # Panics
    /// When the name or the command is there already: a mistake in the program.
    #[must_use]
    pub fn with<A, C>(mut self, name: &'static str) -> Self
    where
        A: Aggregate,
        C: Command<A> + Serialize + DeserializeOwned + 'static,
    {
        let types = TypeId::of::<(A, C)>();
        for known in &self.0 {
            assert!(known.name != name, "there are two commands named {name}");
            assert!(known.types != types, "{} is also named {}", type_name::<C>(), known.name);
        }
        self.0.push(Known { name, types, execute: execute::<A, C> });
        self
    }

    pub(super) fn named(&self, name: &str) -> Result<&Known, IssueError> {
        let known = self.0.iter().find(|known| known.name == name);
        known.ok_or_else(|| IssueError::Unknown { name: name.to_owned() })
    }

    pub(super) fn of<A: 'static, C: 'static>(&self) -> Result<&Known, IssueError> {
        let types = TypeId::of::<(A, C)>();
        let known = self.0.iter().find(|known| known.types == types);
        known.ok_or_else(|| IssueError::Unregistered { command: name_of::<C>() })
    }
}

fn execute<A, C>(annals: &Annals, stream: StreamId, command: Value, id: String) -> Executing<'_>
where
    A: Aggregate,
    C: Command<A> + DeserializeOwned + 'static,
{
    Box::pin(async move {
        let command: C = serde_json::from_value(command)
            .map_err(|error| Failed::Otherwise(ReactError::permanent(IssueError::Data(error))))?;
        match annals.execute_in::<A, C>(Ok(stream), command).id(id).await {
            Ok(executed) => Ok(Answer::Accepted {
                position: executed.position,
                left_events: executed.appended.is_some(),
            }),
            Err(error) if is_refusal(&error) => {
                Ok(Answer::Refused { code: error.code(), message: error.to_string() })
            }
            Err(ExecuteError::CommandId { .. }) => Err(Failed::IdTaken),
            Err(error) => Err(Failed::Otherwise(failed(error))),
        }
    })
}

/// Whether another attempt can help.
pub(super) fn failed<E: std::error::Error + Send + Sync + 'static>(
    error: ExecuteError<E>,
) -> ReactError {
    match error.code() {
        "invalid" | "refused" | "undecodable" => ReactError::permanent(error),
        _ => ReactError::transient(error),
    }
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|known| known.name)).finish()
    }
}
