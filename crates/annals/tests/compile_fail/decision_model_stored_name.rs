use annals::{Apply, DecisionModel, Event};

#[derive(Event)]
enum CourseEvent {
    CourseDefined { places: u32 },
    #[event(name = "course-renamed")]
    CourseRenamed { title: String },
}

#[derive(DecisionModel)]
#[model(event = CourseEvent, types(CourseDefined, CourseRenamed))]
struct Variant;

impl Apply<CourseEvent> for Variant {
    fn apply(&mut self, _: CourseEvent) {}
}

#[derive(DecisionModel)]
#[model(event = CourseEvent, types("course-renamd"))]
struct Stored;

impl Apply<CourseEvent> for Stored {
    fn apply(&mut self, _: CourseEvent) {}
}

fn main() {}
