//! Then: what came of it.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Debug;

use annals_core::{Position, RecordedEvent};
use serde_json::Value;

use crate::testing::failure::{Failure, chain, difference, difference_of_events};
use crate::testing::world::World;
use crate::{Event, ExecuteError, Standing};

/// What came of a command or a decision; each `then…` demands something of it.
///
/// `E` are the events that happened, `S` is the state afterwards, `R` a refusal of the domain.
#[derive(Debug)]
pub struct Outcome<E, S, R> {
    given: Vec<RecordedEvent>,
    asked: String,
    answer: Result<S, ExecuteError<R>>,
    events: Vec<E>,
    recorded: Vec<RecordedEvent>,
}

impl<E: Event, S, R: Error + 'static> Outcome<E, S, R> {
    #[track_caller]
    pub(super) fn of(
        world: &World,
        before: Position,
        asked: String,
        answer: Result<S, ExecuteError<R>>,
    ) -> Self {
        let (given, recorded): (Vec<_>, Vec<_>) =
            world.log(Position::START).into_iter().partition(|event| event.position <= before);
        let mut events = Vec::new();
        for stored in &recorded {
            match E::decode(stored) {
                Ok(decoded) => events.extend(decoded),
                Err(error) => panic!("what was decided cannot be read back: {}", chain(&error)),
            }
        }
        Self { given, asked, answer, events, recorded }
    }

    /// These events happened, no others, and in this order.
    ///
    /// # Panics
    /// When something else came of it. So do the others.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = E>) -> Self
    where
        E: Debug + PartialEq,
    {
        let expected: Vec<_> = events.into_iter().collect();
        if self.answer.is_err() {
            self.fail(&format!("events were expected:\n{expected:#?}"));
        }
        if self.events != expected {
            let difference = difference_of_events(&expected, &self.events);
            self.fail(&format!("other events were expected:\n{difference}"));
        }
        self
    }

    /// Nothing happened, and nothing stood against it.
    #[track_caller]
    pub fn then_nothing(self) -> Self {
        if self.answer.is_err() || !self.recorded.is_empty() {
            self.fail("nothing was expected to happen");
        }
        self
    }

    /// The domain refused it, in just this way.
    #[expect(clippy::needless_pass_by_value, reason = "it is written where it is demanded")]
    #[track_caller]
    pub fn then_refused(self, refusal: R) -> Self
    where
        R: PartialEq,
    {
        match &self.answer {
            Err(ExecuteError::Refused(found)) if *found == refusal => {}
            Err(ExecuteError::Refused(found)) => {
                let difference = difference(&refusal, found);
                self.fail(&format!("another refusal was expected:\n{difference}"));
            }
            _ => self.fail(&format!("a refusal was expected:\n{refusal:#?}")),
        }
        self
    }

    /// The domain refused it, saying this: for refusals that cannot be compared.
    #[track_caller]
    pub fn then_refused_saying(self, message: &str) -> Self {
        match &self.answer {
            Err(ExecuteError::Refused(found)) if found.to_string() == message => {}
            _ => self.fail(&format!("a refusal was expected that says: {message}")),
        }
        self
    }

    /// It was wrong whatever the state, in just these fields.
    #[track_caller]
    pub fn then_invalid<'p>(self, paths: impl IntoIterator<Item = &'p str>) -> Self {
        let expected: BTreeSet<_> = paths.into_iter().collect();
        match &self.answer {
            Err(ExecuteError::Invalid(errors))
                if errors.iter().map(|error| &*error.path).collect::<BTreeSet<_>>() == expected => {
            }
            _ => self.fail(&format!("errors in just these fields were expected: {expected:?}")),
        }
        self
    }

    /// Whoever asked may not do it.
    #[track_caller]
    pub fn then_denied(self) -> Self {
        if !matches!(self.answer, Err(ExecuteError::Denied(_))) {
            self.fail("it was expected to be denied");
        }
        self
    }

    /// The stream takes no more events.
    #[track_caller]
    pub fn then_not_open(self, standing: Standing) -> Self {
        match &self.answer {
            Err(ExecuteError::Standing(not_open)) if not_open.standing == standing => {}
            _ => self.fail(&format!("the stream was expected to be {standing:?}")),
        }
        self
    }

    /// It was not refused, and this is shown of the state afterwards: by assertions.
    #[track_caller]
    pub fn then_state(self, show: impl FnOnce(&S)) -> Self {
        match &self.answer {
            Ok(state) => show(state),
            Err(_) => self.fail("a state was expected"),
        }
        self
    }

    /// Something happened, and each event has just these tags.
    #[track_caller]
    pub fn then_tags<'t>(self, tags: impl IntoIterator<Item = &'t str>) -> Self {
        let expected: BTreeSet<_> = tags.into_iter().collect();
        self.then_each(
            &format!("events with just these tags were expected: {expected:?}"),
            |event| event.tags.iter().collect::<BTreeSet<_>>() == expected,
        )
    }

    /// Something happened, and each event says this in its metadata.
    #[track_caller]
    pub fn then_metadata(self, key: &str, value: impl Into<Value>) -> Self {
        let expected = value.into();
        let demand = format!("events with this in their metadata were expected: {key}: {expected}");
        self.then_each(&demand, |event| event.metadata.get(key).as_ref() == Some(&expected))
    }

    /// Something happened, and each event is in this stream.
    #[track_caller]
    pub fn then_in(self, stream: &str) -> Self {
        let demand = format!("events in this stream were expected: {stream}");
        self.then_each(&demand, |event| event.stream.as_str() == stream)
    }

    /// This is shown of the events as they were recorded: by assertions.
    #[track_caller]
    pub fn then_recorded(self, show: impl FnOnce(&[RecordedEvent])) -> Self {
        show(&self.recorded);
        self
    }

    /// The answer itself, for whatever else is to be shown of it.
    ///
    /// # Errors
    /// What `execute` or `decide` has answered.
    pub fn answer(&self) -> Result<&S, &ExecuteError<R>> {
        self.answer.as_ref()
    }

    #[track_caller]
    fn then_each(self, demand: &str, holds: impl Fn(&RecordedEvent) -> bool) -> Self {
        if self.recorded.is_empty() || !self.recorded.iter().all(holds) {
            self.fail(demand);
        }
        self
    }

    #[track_caller]
    fn fail(&self, demand: &str) -> ! {
        let Self { given, asked, recorded, .. } = self;
        let answer = self.answer.as_ref().map(drop);
        panic!("{}", Failure { demand, given, asked, answer, recorded })
    }
}
