use annals::{DecisionModel, Event};

#[derive(Event)]
enum CourseEvent {
    CourseDefined { places: u32 },
}

struct NoDefault;

#[derive(DecisionModel)]
#[model(event = CourseEvent, types(CourseDefined))]
struct Places {
    left: NoDefault,
}

fn main() {}
