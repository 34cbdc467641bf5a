use annals::{Apply, DecisionModel, Event};

#[derive(Event)]
enum CourseEvent {
    CourseDefined {
        #[event(tag = "course")]
        course: String,
        places: u32,
    },
    StudentMoved {
        #[event(subject)]
        student: String,
    },
}

/// The key is misspelt.
#[derive(DecisionModel)]
#[model(event = CourseEvent)]
struct Places {
    #[model(tag = "corse")]
    course: String,
    left: u32,
}

impl Apply<CourseEvent> for Places {
    fn apply(&mut self, _: CourseEvent) {}
}

/// The tag is that of another type.
#[derive(DecisionModel)]
#[model(event = CourseEvent, types(StudentMoved))]
struct Moves {
    #[model(tag = "subject")]
    student: String,
    #[model(tag = "course")]
    course: String,
}

impl Apply<CourseEvent> for Moves {
    fn apply(&mut self, _: CourseEvent) {}
}

fn main() {}
