//! The domain of the tests of decisions: courses with places, and students with limits. Courses
//! were stored under other types before.

use annals::{
    Apply, Context, Decision, DecisionModel, Denied, Event, FieldErrors, InvalidName, Part, Query,
    QueryItem, StreamId, Tag, Upcasters,
};

pub(crate) const COURSES_MAX: u32 = 3;

#[derive(Clone, Debug, PartialEq, Event)]
#[event(upcasters = upcasters)]
pub(crate) enum CourseEvent {
    CourseDefined {
        #[event(tag = "course")]
        course: String,
        places: u32,
    },
    CourseTitled {
        #[event(tag = "course")]
        course: String,
        title: String,
    },
    #[event(name = "places-changed")]
    PlacesChanged {
        #[event(tag = "course")]
        course: String,
        places: u32,
    },
    StudentSubscribed {
        #[event(tag = "student")]
        student: String,
        #[event(tag = "course")]
        course: String,
    },
}
use CourseEvent::*;

/// At first a course was planned, with its title; then it was made.
fn upcasters() -> Upcasters {
    let parts = &["CourseMade", "CourseTitled"];
    Upcasters::new().rename("CourseMade", "CourseDefined").split("CoursePlanned", 1, parts, |old| {
        let (mut made, mut titled) = (old.clone(), old);
        made.remove("title");
        titled.remove("places");
        vec![Part::new("CourseMade", 1, made), Part::new("CourseTitled", 1, titled)]
    })
}

/// Another enum, of which decisions about courses need to know.
#[derive(Clone, Debug, PartialEq, Event)]
pub(crate) enum StudentEvent {
    StudentEnrolled {
        #[event(tag = "student")]
        student: String,
    },
    StudentLeft {
        #[event(tag = "student")]
        student: String,
    },
}

#[derive(Clone, Debug, PartialEq, DecisionModel)]
#[model(event = CourseEvent, types(CourseDefined, "places-changed", StudentSubscribed))]
pub(crate) struct Places {
    #[model(tag = "course")]
    course: String,
    pub(crate) capacity: Option<u32>,
    pub(crate) taken: u32,
    /// How many events were folded.
    pub(crate) folded: u32,
}

impl Apply<CourseEvent> for Places {
    fn apply(&mut self, event: CourseEvent) {
        self.folded += 1;
        match event {
            CourseDefined { places, .. } | PlacesChanged { places, .. } => {
                self.capacity = Some(places);
            }
            StudentSubscribed { .. } => self.taken += 1,
            CourseTitled { .. } => unreachable!("the model does not ask for it"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, DecisionModel)]
#[model(event = CourseEvent, types(StudentSubscribed))]
pub(crate) struct Courses {
    #[model(tag = "student")]
    student: String,
    pub(crate) names: Vec<String>,
}

impl Apply<CourseEvent> for Courses {
    fn apply(&mut self, event: CourseEvent) {
        if let StudentSubscribed { course, .. } = event {
            self.names.push(course);
        }
    }
}

#[derive(Clone, Debug, PartialEq, DecisionModel)]
#[model(event = StudentEvent)]
pub(crate) struct Gone {
    #[model(tag = "student")]
    student: String,
    pub(crate) gone: bool,
}

impl Apply<StudentEvent> for Gone {
    fn apply(&mut self, event: StudentEvent) {
        self.gone = matches!(event, StudentEvent::StudentLeft { .. });
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Planning {
    Define { course: String, places: u32 },
    Change { course: String, places: u32 },
}

#[derive(Clone, Debug)]
pub(crate) struct Subscribe {
    pub(crate) student: String,
    pub(crate) course: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the course exists already")]
    Exists,
    #[error("there is no such course")]
    Unknown,
    #[error("the course is full")]
    Full,
    #[error("the student has enough courses")]
    TooMany,
    #[error("the student is subscribed already")]
    Already,
    #[error("the student has left")]
    Gone,
}

impl Decision for Planning {
    type Model = Places;
    type Event = CourseEvent;
    type Error = Refusal;

    fn model(&self) -> Places {
        let (Self::Define { course, .. } | Self::Change { course, .. }) = self;
        Places::of(course)
    }

    fn decide(self, course: &Places) -> Result<Vec<CourseEvent>, Refusal> {
        match (self, course.capacity) {
            (Self::Define { .. }, Some(_)) => Err(Refusal::Exists),
            (Self::Define { course, places }, None) => Ok(vec![CourseDefined { course, places }]),
            (Self::Change { .. }, None) => Err(Refusal::Unknown),
            (Self::Change { places, .. }, Some(now)) if places == now => Ok(vec![]),
            (Self::Change { course, places }, Some(_)) => {
                Ok(vec![PlacesChanged { course, places }])
            }
        }
    }

    fn stream(&self, _: &CourseEvent) -> Result<StreamId, InvalidName> {
        let (Self::Define { course, .. } | Self::Change { course, .. }) = self;
        StreamId::of("course", course)
    }
}

impl Decision for Subscribe {
    type Model = (Places, (Courses, Gone));
    type Event = CourseEvent;
    type Error = Refusal;

    fn model(&self) -> Self::Model {
        (Places::of(&self.course), (Courses::of(&self.student), Gone::of(&self.student)))
    }

    fn field_errors(&self) -> FieldErrors {
        FieldErrors::none().check(self.student != "nobody", "student", "who", "say who")
    }

    fn authorise(&self, _: &Self::Model, context: &Context) -> Result<(), Denied> {
        Denied::unless(context.who().is_none_or(|who| who == self.student), "subscribe yourself")
    }

    fn decide(self, model: &Self::Model) -> Result<Vec<CourseEvent>, Refusal> {
        let (places, (courses, gone)) = model;
        let capacity = places.capacity.ok_or(Refusal::Unknown)?;
        if gone.gone {
            return Err(Refusal::Gone);
        }
        if courses.names.contains(&self.course) {
            return Err(Refusal::Already);
        }
        if places.taken >= capacity {
            return Err(Refusal::Full);
        }
        if courses.names.len() >= COURSES_MAX as usize {
            return Err(Refusal::TooMany);
        }
        Ok(vec![StudentSubscribed { student: self.student, course: self.course }])
    }

    fn stream(&self, _: &CourseEvent) -> Result<StreamId, InvalidName> {
        StreamId::of("course", &self.course)
    }
}

/// Raises the number of places; who takes one meanwhile does not matter to it.
#[derive(Clone, Debug)]
pub(crate) struct Enlarge {
    pub(crate) course: String,
}

impl Decision for Enlarge {
    type Model = Places;
    type Event = CourseEvent;
    type Error = Refusal;

    fn model(&self) -> Places {
        Places::of(&self.course)
    }

    fn decide(self, places: &Places) -> Result<Vec<CourseEvent>, Refusal> {
        let places = places.capacity.ok_or(Refusal::Unknown)? + 1;
        Ok(vec![PlacesChanged { course: self.course, places }])
    }

    fn stream(&self, _: &CourseEvent) -> Result<StreamId, InvalidName> {
        StreamId::of("course", &self.course)
    }

    fn validation_query(&self, _: &Places) -> Option<Query> {
        let types = ["CourseDefined", "places-changed"].map(annals::EventType::from_static);
        let tag = Tag::of("course", &self.course).expect("tests name courses well");
        Some(Query::of(QueryItem::new().types(types).tag(tag)))
    }
}

pub(crate) fn define(course: &str, places: u32) -> Planning {
    Planning::Define { course: course.to_owned(), places }
}

pub(crate) fn change(course: &str, places: u32) -> Planning {
    Planning::Change { course: course.to_owned(), places }
}

pub(crate) fn subscribe(student: &str, course: &str) -> Subscribe {
    Subscribe { student: student.to_owned(), course: course.to_owned() }
}
