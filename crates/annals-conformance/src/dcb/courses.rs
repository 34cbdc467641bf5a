//! Courses have a capacity, students a number of courses they may take, and one event concerns
//! both.

use annals_core::{Query, QueryItem, RecordedEvent};
use serde_json::json;

use super::{Refusal, decide, fact, is, number};
use crate::Backend;
use crate::probe::Probe;
use crate::storm::together;
use crate::words::{event_type, stream, tag, tagged};

const COURSES_OF_A_STUDENT_MAX: usize = 3;

async fn define(store: &Probe, course: &str, capacity: u64) -> Result<(), Refusal> {
    let query = about(course);
    let defined = decide(store, query, |history| {
        if !history.is_empty() {
            return Err("the course exists already");
        }
        let data = json!({ "capacity": capacity });
        let event = fact("CourseDefined", &[format!("course:{course}")], &data);
        Ok((stream(format!("course-{course}")), event))
    });
    defined.await.map(drop)
}

async fn change_capacity(store: &Probe, course: &str, capacity: u64) -> Result<(), Refusal> {
    let changed = decide(store, about(course), |history| {
        let current = self::capacity(history).ok_or("there is no such course")?;
        if current == capacity {
            return Err("the course has this capacity already");
        }
        let data = json!({ "capacity": capacity });
        let event = fact("CourseCapacityChanged", &[format!("course:{course}")], &data);
        Ok((stream(format!("course-{course}")), event))
    });
    changed.await.map(drop)
}

async fn subscribe(store: &Probe, student: &str, course: &str) -> Result<(), Refusal> {
    let [of_course, of_student] = [format!("course:{course}"), format!("student:{student}")];
    let subscriptions = QueryItem::new().event_type(event_type("StudentSubscribed"));
    let query = about(course)
        .or(subscriptions.clone().tag(tag(&of_course)))
        .or(subscriptions.tag(tag(&of_student)));
    let subscribed = decide(store, query, |history| {
        let capacity = capacity(history).ok_or("there is no such course")?;
        let having = |text: &str| {
            let wanted = tag(text);
            let subscribed = history.iter().filter(|event| is(event, "StudentSubscribed"));
            subscribed.filter(move |event| event.tags.contains(&wanted)).collect::<Vec<_>>()
        };
        let taken = having(&of_course);
        if taken.iter().any(|event| event.tags.contains(&tag(&of_student))) {
            return Err("the student is subscribed already");
        }
        if taken.len() as u64 >= capacity {
            return Err("the course is full");
        }
        if having(&of_student).len() >= COURSES_OF_A_STUDENT_MAX {
            return Err("the student has too many courses");
        }
        let tags = [of_course.clone(), of_student.clone()];
        Ok((stream(format!("course-{course}")), fact("StudentSubscribed", &tags, &json!({}))))
    });
    subscribed.await.map(drop)
}

fn about(course: &str) -> Query {
    let types = ["CourseDefined", "CourseCapacityChanged"].map(event_type);
    Query::of(QueryItem::new().types(types).tag(tag(format!("course:{course}"))))
}

fn capacity(history: &[RecordedEvent]) -> Option<u64> {
    let told = |event: &&RecordedEvent| !is(event, "StudentSubscribed");
    history.iter().rfind(told).map(|event| number(event, "capacity"))
}

pub(crate) async fn dcb_course_subscriptions(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    assert_eq!(subscribe(&store, "s1", "c1").await, Err("there is no such course"));
    for course in ["c1", "c2", "c3", "c4"] {
        assert_eq!(define(&store, course, 2).await, Ok(()));
    }
    assert_eq!(define(&store, "c1", 9).await, Err("the course exists already"));
    assert_eq!(change_capacity(&store, "c1", 2).await, Err("the course has this capacity already"));
    assert_eq!(change_capacity(&store, "c9", 2).await, Err("there is no such course"));
    assert_eq!(subscribe(&store, "s1", "c1").await, Ok(()));
    assert_eq!(subscribe(&store, "s1", "c1").await, Err("the student is subscribed already"));
    assert_eq!(subscribe(&store, "s2", "c1").await, Ok(()));
    assert_eq!(subscribe(&store, "s3", "c1").await, Err("the course is full"));
    assert_eq!(change_capacity(&store, "c1", 3).await, Ok(()));
    assert_eq!(subscribe(&store, "s3", "c1").await, Ok(()));
    assert_eq!(subscribe(&store, "s1", "c2").await, Ok(()));
    assert_eq!(subscribe(&store, "s1", "c3").await, Ok(()));
    assert_eq!(subscribe(&store, "s1", "c4").await, Err("the student has too many courses"));
}

/// Twelve students want the same four courses of three seats each at the same time: no course is
/// overbooked, no student has too many, and every seat somebody might have had is taken.
pub(crate) async fn dcb_course_subscriptions_racing(backend: &dyn Backend) {
    let store = Probe::open(backend).await;
    let courses = ["c0", "c1", "c2", "c3"];
    for course in courses {
        assert_eq!(define(&store, course, 3).await, Ok(()));
    }
    let subscribed = together(12, |student| {
        let store = store.clone();
        async move {
            let mut mine = 0;
            for n in 0..courses.len() {
                let course = courses[(student + n) % courses.len()];
                let outcome = subscribe(&store, &format!("s{student}"), course).await;
                mine += usize::from(outcome.is_ok());
            }
            mine
        }
    })
    .await;
    let log = store.log().await;
    let count = |text: String| {
        let query = tagged([text.as_str()]);
        let subscribed = log.iter().filter(|event| is(event, "StudentSubscribed"));
        subscribed.filter(|event| query.matches(event)).count()
    };
    for course in courses {
        assert_eq!(count(format!("course:{course}")), 3, "seats taken in {course}");
    }
    for (student, told) in subscribed.into_iter().enumerate() {
        let found = count(format!("student:s{student}"));
        assert_eq!(found, told, "what student {student} was told and what is in the log");
        assert!(found <= COURSES_OF_A_STUDENT_MAX, "student {student} has {found} courses");
    }
}
