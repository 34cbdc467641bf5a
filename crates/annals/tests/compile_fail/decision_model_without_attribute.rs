use annals::{Apply, DecisionModel, Event};

#[derive(Event)]
enum CourseEvent {
    CourseDefined {
        #[event(tag = "course")]
        course: String,
    },
}

#[derive(DecisionModel)]
struct Places;

#[derive(DecisionModel)]
#[model(types(CourseDefined))]
struct Courses;

#[derive(DecisionModel)]
#[model(event = CourseEvent)]
struct Everything {
    count: u32,
}

#[derive(DecisionModel)]
enum Either {}

impl Apply<CourseEvent> for Everything {
    fn apply(&mut self, _: CourseEvent) {}
}

fn main() {}
