use annals::{Apply, DecisionModel, Event};

#[derive(Event)]
enum CourseEvent {
    CourseDefined { places: u32 },
    #[event(name = "course-renamed")]
    CourseRenamed { title: String },
}

#[derive(DecisionModel)]
#[model(event = CourseEvent, types(CourseDefind))]
struct Misspelt;

impl Apply<CourseEvent> for Misspelt {
    fn apply(&mut self, _: CourseEvent) {}
}

fn main() {}
