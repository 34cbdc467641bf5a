use annals::{Annals, Apply, Decision, DecisionModel, Event, InvalidName, StreamId};

#[derive(Event)]
enum CourseEvent {
    CourseDefined { places: u32 },
}

#[derive(DecisionModel)]
#[model(event = CourseEvent, types(CourseDefined))]
struct Places;

impl Apply<CourseEvent> for Places {
    fn apply(&mut self, _: CourseEvent) {}
}

#[derive(Clone)]
struct Subscribe;

impl Decision for Subscribe {
    type Model = (Places, u32);
    type Event = CourseEvent;
    type Error = std::convert::Infallible;

    fn model(&self) -> Self::Model {
        (Places::of(), 0)
    }

    fn decide(self, _: &Self::Model) -> Result<Vec<CourseEvent>, Self::Error> {
        Ok(vec![])
    }

    fn stream(&self, _: &CourseEvent) -> Result<StreamId, InvalidName> {
        StreamId::new("course-1")
    }
}

#[derive(Clone)]
struct Unsubscribe;

fn unsubscribe(school: Annals) {
    let _ = school.decide(Unsubscribe);
}

fn main() {}
