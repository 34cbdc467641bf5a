use annals::{DecisionModel, Event};

#[derive(Event)]
enum CourseEvent {
    CourseDefined { places: u32 },
}

#[derive(DecisionModel)]
#[model(event = CourseEvent, types(CourseDefined, CourseDefined))]
struct Twice;

#[derive(DecisionModel)]
#[model(event = CourseEvent, types())]
struct Empty;

#[derive(DecisionModel)]
#[model(event = CourseEvent, types = CourseDefined)]
struct Equals;

#[derive(DecisionModel)]
#[model(event = CourseEvent, tag = "course")]
struct Misplaced {
    course: String,
}

#[derive(DecisionModel)]
#[model(event = CourseEvent)]
struct Keys {
    #[model(tag = "course:")]
    course: String,
    #[model(key = "student")]
    student: String,
}

#[derive(DecisionModel)]
#[model(event = CourseEvent, types(CourseDefined))]
struct Generic<T>(T);

fn main() {}
