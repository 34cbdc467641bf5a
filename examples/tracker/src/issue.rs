//! An issue: what can happen to one, and who may ask for it.

use annals::{
    Aggregate, Apply, Command, Context, Denied, Event, FieldErrors, IllegalTransition,
    StateMachine, StreamId,
};
use serde::{Deserialize, Serialize};

use self::IssueEvent::{
    IssueAssigned, IssueClosed, IssueCommented, IssueCreated, IssueReopened, IssueViewed,
    StatusChanged,
};

/// What the streams of issues begin with.
pub const CATEGORY: &str = "issue";
pub const TITLE_CHARS_MAX: usize = 200;
pub const TEXT_CHARS_MAX: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Event)]
pub enum IssueEvent {
    IssueCreated { title: String, description: String },
    IssueAssigned { to: String },
    StatusChanged { from: Status, to: Status },
    IssueCommented { text: String },
    IssueClosed,
    IssueReopened,
    IssueViewed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    #[default]
    Open,
    InProgress,
    Resolved,
    Closed,
}

impl StateMachine for Status {
    const INITIAL: Self = Self::Open;
    const EVENT: &'static str = "StatusChanged";

    fn next(self) -> &'static [Self] {
        match self {
            Self::Open => &[Self::InProgress],
            Self::InProgress => &[Self::Resolved],
            Self::Resolved => &[Self::Closed, Self::Open],
            Self::Closed => &[Self::Open],
        }
    }
}

impl Status {
    /// As people read it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InProgress => "in progress",
            Self::Resolved => "resolved",
            Self::Closed => "closed",
        }
    }
}

/// What commands are decided on: nothing else of an issue matters to them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Aggregate)]
#[aggregate(category = "issue", event = IssueEvent)]
pub struct Issue {
    pub exists: bool,
    pub status: Status,
    pub assignee: Option<String>,
}

impl Apply<IssueEvent> for Issue {
    fn apply(&mut self, event: IssueEvent) {
        match event {
            IssueCreated { .. } => self.exists = true,
            IssueAssigned { to } => self.assignee = Some(to),
            StatusChanged { to, .. } => self.status = to,
            IssueClosed => self.status = Status::Closed,
            IssueReopened => self.status = Status::Open,
            IssueCommented { .. } | IssueViewed => {}
        }
    }
}

#[derive(Clone, Debug)]
pub enum IssueCommand {
    Create {
        title: String,
        description: String,
    },
    Assign {
        to: String,
    },
    Comment {
        text: String,
    },
    /// To the next status: started, resolved, closed, or reopened.
    Become(Status),
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IssueRefusal {
    #[error("there is an issue with this id already; send the form again")]
    Exists,
    #[error("there is no such issue")]
    NotFound,
    #[error("nobody is called {0:?}; choose somebody who has joined")]
    Nobody(String),
    #[error("the issue is closed; reopen it first")]
    Closed,
    #[error(transparent)]
    Status(#[from] IllegalTransition<Status>),
}

impl Command<Issue> for IssueCommand {
    type Error = IssueRefusal;

    fn field_errors(&self) -> FieldErrors {
        let none = FieldErrors::none();
        match self {
            Self::Create { title, description } => none
                .check(
                    is_filled(title, TITLE_CHARS_MAX) && !title.chars().any(char::is_control),
                    "title",
                    "length",
                    "give it a title of 1 to 200 characters",
                )
                .check(
                    description.chars().count() <= TEXT_CHARS_MAX,
                    "description",
                    "length",
                    "must have at most 10000 characters",
                ),
            Self::Comment { text } => none.check(
                is_filled(text, TEXT_CHARS_MAX),
                "text",
                "length",
                "write 1 to 10000 characters",
            ),
            Self::Assign { .. } | Self::Become(_) => none,
        }
    }

    fn authorise(&self, _: &Issue, context: &Context) -> Result<(), Denied> {
        Denied::unless(context.who().is_some(), "say who you are first")
    }

    fn decide(self, issue: &Issue) -> Result<Vec<IssueEvent>, IssueRefusal> {
        if let Self::Create { title, description } = self {
            if issue.exists {
                return Err(IssueRefusal::Exists);
            }
            return Ok(vec![IssueCreated { title: title.trim().to_owned(), description }]);
        }
        if !issue.exists {
            return Err(IssueRefusal::NotFound);
        }
        match self {
            Self::Create { .. } => unreachable!("it was answered above"),
            Self::Assign { .. } if issue.status == Status::Closed => Err(IssueRefusal::Closed),
            Self::Assign { to } if issue.assignee.as_ref() == Some(&to) => Ok(Vec::new()),
            Self::Assign { to } => Ok(vec![IssueAssigned { to }]),
            Self::Comment { text } => Ok(vec![IssueCommented { text }]),
            Self::Become(status) => {
                let change = issue.status.to(status)?;
                Ok(vec![match status {
                    Status::Closed => IssueClosed,
                    Status::Open => IssueReopened,
                    _ => StatusChanged { from: change.from, to: change.to },
                }])
            }
        }
    }
}

fn is_filled(text: &str, chars_max: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= chars_max
}

/// The id of an issue in a stream, `7` of `issue-7`.
#[must_use]
pub fn id_of(stream: &StreamId) -> &str {
    stream.as_str().strip_prefix("issue-").unwrap_or(stream.as_str())
}
