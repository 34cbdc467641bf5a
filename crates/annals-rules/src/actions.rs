//! What rules can do: functions with names, registered when the program starts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use annals::{Aggregate, Annals, Command, ReactError, Reacting, RecordedEvent, Version};
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What rules can do, by name.
///
/// ```
/// use annals::Annals;
/// use annals_rules::{Actions, Because};
/// # use annals::{Aggregate, Apply, Command, Event};
/// # #[derive(Event)] enum IssueEvent { IssueAssigned { to: String } }
/// # #[derive(Default, Aggregate)] #[aggregate(category = "issue", event = IssueEvent)] struct Issue;
/// # impl Apply<IssueEvent> for Issue { fn apply(&mut self, _: IssueEvent) {} }
/// # #[derive(Clone)] struct AssignTo(String);
/// # impl Command<Issue> for AssignTo {
/// #     type Error = std::convert::Infallible;
/// #     fn decide(self, _: &Issue) -> Result<Vec<IssueEvent>, Self::Error> {
/// #         Ok(vec![IssueEvent::IssueAssigned { to: self.0 }])
/// #     }
/// # }
///
/// #[derive(serde::Deserialize)]
/// struct Assign {
///     issue: String,
///     to: String,
/// }
///
/// fn actions(tracker: Annals) -> Actions {
///     Actions::new().on("assign", move |assign: Assign, because: Because| {
///         let tracker = tracker.clone();
///         async move { because.execute::<Issue, _>(&tracker, assign.issue, AssignTo(assign.to)).await }
///     })
/// }
/// ```
///
/// An action may be done again for the same event, when the process died before it was noted, or
/// when something behind it failed. What it executes with [`Because::execute`] is done once all
/// the same; what it does elsewhere it marks with [`Because::command_id`].
#[derive(Clone, Default)]
pub struct Actions(BTreeMap<String, Arc<dyn AnyAction>>);

impl Actions {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more, or another under the same name: `act` is called with what the
    /// rule's arguments come to.
    ///
    /// It runs in a [`Context`](annals::Context) in which the event is the cause and the rule the
    /// actor, `rule:id`. An error that says it is transient fails the delivery, which is tried
    /// again; one that says it is permanent is recorded.
    #[must_use]
    pub fn on<A, F, R>(mut self, name: &str, act: F) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A, Because) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), ReactError>> + Send + 'static,
    {
        let typed = Typed { act, arguments: std::marker::PhantomData };
        self.0.insert(name.to_owned(), Arc::new(typed));
        self
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&dyn AnyAction> {
        self.0.get(name).map(|action| &**action)
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Because of what an action is done.
#[derive(Clone, Debug)]
pub struct Because {
    pub(crate) reacting: Reacting,
    pub(crate) rule: Arc<str>,
    pub(crate) rule_version: Version,
    /// Which of the rule's actions it is, from 0.
    pub(crate) action: usize,
}

impl Because {
    /// The delivery.
    #[must_use]
    pub fn reacting(&self) -> &Reacting {
        &self.reacting
    }

    /// The event that the rule looked at.
    #[must_use]
    pub fn event(&self) -> &RecordedEvent {
        self.reacting.event()
    }

    /// The rule's id.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The version of the rule's stream that was in force.
    #[must_use]
    pub fn rule_version(&self) -> Version {
        self.rule_version
    }

    /// What tells this action because of this event from all others: the same each time it is
    /// tried.
    #[must_use]
    pub fn command_id(&self) -> String {
        self.reacting.command_id(&format!("{}/{}", self.rule, self.action))
    }

    /// Executes a command, once however often the action is tried. An action that executes
    /// several gives each an id of its own, made of [`command_id`](Self::command_id).
    ///
    /// # Errors
    /// Permanent when the command is refused, denied or invalid; transient otherwise.
    pub async fn execute<A, C>(
        &self,
        annals: &Annals,
        id: impl Into<A::Id> + Send,
        command: C,
    ) -> Result<(), ReactError>
    where
        A: Aggregate,
        C: Command<A>,
    {
        match annals.execute::<A, C>(id, command).id(self.command_id()).await {
            Ok(_) => Ok(()),
            Err(error) if ["denied", "invalid", "refused"].contains(&error.code()) => {
                Err(ReactError::permanent(error))
            }
            Err(error) => Err(ReactError::transient(error)),
        }
    }
}

/// An action, whatever its arguments are.
#[async_trait]
pub(crate) trait AnyAction: Send + Sync {
    /// Why these cannot be its arguments.
    fn check(&self, arguments: Value) -> Result<(), serde_json::Error>;

    async fn act(&self, arguments: Value, because: Because) -> Result<(), ReactError>;
}

struct Typed<A, F> {
    act: F,
    arguments: std::marker::PhantomData<fn(A)>,
}

#[async_trait]
impl<A, F, R> AnyAction for Typed<A, F>
where
    A: DeserializeOwned + Send + 'static,
    F: Fn(A, Because) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), ReactError>> + Send + 'static,
{
    fn check(&self, arguments: Value) -> Result<(), serde_json::Error> {
        serde_json::from_value::<A>(arguments).map(drop)
    }

    async fn act(&self, arguments: Value, because: Because) -> Result<(), ReactError> {
        let arguments = serde_json::from_value(arguments).map_err(ReactError::permanent)?;
        (self.act)(arguments, because).await
    }
}
