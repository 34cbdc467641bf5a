//! Decisions over queries: what is read, under which condition it is recorded, and what becomes
//! of it when others are faster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use annals::{
    Annals, Append, AppendCondition, Apply, Context, Data, Decision, DecisionModel, Event,
    EventStoreExt, EventType, ExecuteError, ExpectedVersion, InvalidName, LoadError, MemoryStore,
    NewEvent, Position, Query, QueryItem, Read, RecordedEvent, Retention, RetryPolicy, Scope,
    Standing, StreamId, Tag, Version,
};
use proptest::prelude::*;

use crate::courses::{
    COURSES_MAX, CourseEvent, Enlarge, Places, Refusal, StudentEvent, Subscribe, change, define,
    subscribe,
};
use crate::watched::Watched;

/// The course `rust` with two places, of which ada has one; and grace's course `c`.
async fn school() -> MemoryStore {
    let store = MemoryStore::new();
    let school = Annals::new(store.clone());
    school.decide(define("rust", 2)).await.unwrap();
    school.decide(define("c", 9)).await.unwrap();
    school.decide(subscribe("ada", "rust")).await.unwrap();
    school.decide(subscribe("grace", "c")).await.unwrap();
    store
}

async fn log(store: &MemoryStore) -> Vec<RecordedEvent> {
    store.read_to_end(Read::all()).await.unwrap()
}

fn types(names: &[&'static str]) -> QueryItem {
    QueryItem::new().types(names.iter().map(|name| EventType::from_static(name)))
}

fn tag(text: &'static str) -> Tag {
    Tag::from_static(text)
}

/// What a model of the places of `rust` reads, with the types it was stored under before.
fn places_as_stored() -> QueryItem {
    let names =
        ["CourseDefined", "CourseMade", "CoursePlanned", "places-changed", "StudentSubscribed"];
    types(&names).tag(tag("course:rust"))
}

fn subscribed(student: &str, course: &str) -> NewEvent {
    let (student, course) = (student.to_owned(), course.to_owned());
    CourseEvent::StudentSubscribed { student, course }.encode().unwrap()
}

fn raw(name: &'static str, data: &'static str, tags: &[&'static str]) -> NewEvent {
    let event = NewEvent::new(EventType::from_static(name), Data::json(data));
    tags.iter().fold(event, |event, text| event.tagged(tag(text)))
}

#[tokio::test]
async fn what_was_decided_is_in_the_models_and_in_the_log() {
    let store = school().await;
    let decided = Annals::new(store.clone()).decide(subscribe("grace", "rust")).await.unwrap();
    let (places, (courses, _)) = &decided.model;
    assert_eq!((places.capacity, places.taken, places.folded), (Some(2), 2, 3));
    assert_eq!(courses.names, ["c", "rust"]);
    let log = log(&store).await;
    let last = log.last().unwrap();
    assert_eq!(last.stream.as_str(), "course-rust");
    assert_eq!(decided.position, last.position);
    let receipt = decided.appended.unwrap();
    assert_eq!(receipt.recorded_at, last.recorded_at);
    assert_eq!(receipt.version_of(&last.stream), Some(Version::new(3)));
    assert!(!decided.repeated);
}

#[tokio::test]
async fn refusals_have_layers_and_leave_no_trace() {
    let store = school().await;
    let school = Annals::new(store.clone());
    let invalid = school.decide(subscribe("nobody", "nowhere")).await.unwrap_err();
    assert!(matches!(invalid, ExecuteError::Invalid(_)), "{invalid:?}");
    let as_eve = Context::new().actor("eve");
    let denied = school.decide(subscribe("ada", "nowhere")).context(as_eve).await.unwrap_err();
    assert_eq!(denied.code(), "denied");
    let refused = school.decide(subscribe("ada", "nowhere")).await.unwrap_err();
    assert!(matches!(refused, ExecuteError::Refused(Refusal::Unknown)), "{refused:?}");
    let untaggable = school.decide(subscribe("ada", "")).await.unwrap_err();
    assert!(matches!(untaggable, ExecuteError::Load(LoadError::Id(_))), "{untaggable:?}");
    assert_eq!(untaggable.code(), "invalid");
    assert_eq!(log(&store).await.len(), 4);
}

#[tokio::test]
async fn refusals_are_recorded_under_the_decisions_name() {
    let store = school().await;
    let school = Annals::new(store.clone()).recording_refusals();
    school.decide(subscribe("ada", "rust")).await.unwrap_err();
    let refusals = Read::stream(StreamId::from_static("refusal-Subscribe"));
    let refusals = store.read_to_end(refusals).await.unwrap();
    let data = format!("{:?}", refusals[0].data);
    assert!(data.contains("subscribed already") && !data.contains("stream"), "{data}");
}

#[tokio::test]
async fn one_read_and_one_condition_have_exactly_the_query_of_the_models() {
    let store = school().await;
    let before = log(&store).await;
    let watched = Arc::new(Watched::new(&store));
    Annals::new(watched.clone()).decide(subscribe("ada", "c")).await.unwrap();
    let expected = Query::of(QueryItem { tags: vec![tag("course:c")], ..places_as_stored() })
        .or(types(&["StudentSubscribed"]).tag(tag("student:ada")))
        .or(types(&["StudentEnrolled", "StudentLeft"]).tag(tag("student:ada")));
    let reads = watched.reads();
    assert_eq!(reads.len(), 1);
    assert_eq!(reads[0].scope, Scope::Query(expected.clone()));
    assert_eq!(reads[0].after, Position::START);

    let [append] = &watched.appends()[..] else { panic!("one append") };
    assert_eq!(append.streams[0].expected, ExpectedVersion::Any);
    let last_seen = before[3].position;
    let markers = ["annals.StreamArchived", "annals.StreamClosed", "annals.StreamDeleted"];
    let closed = types(&markers).tag(tag("annals.stream:course-c"));
    let closed = Query::of(closed.stream(StreamId::from_static("course-c")));
    assert_eq!(
        append.conditions,
        [
            AppendCondition::none_match_after(expected, last_seen),
            AppendCondition::none_match(closed)
        ]
    );
}

#[tokio::test]
async fn on_conflict_only_what_came_since_is_read() {
    let store = school().await;
    let others = vec![("course-rust", subscribed("eve", "rust"))];
    let watched = Arc::new(Watched::new(&store).let_others_write(others));
    let refused = Annals::new(watched.clone()).decide(subscribe("joan", "rust")).await.unwrap_err();
    // There was a place when it was decided first, and there is none any more.
    assert!(matches!(refused, ExecuteError::Refused(Refusal::Full)), "{refused:?}");
    let reads = watched.reads();
    let [first, second] = &reads[..] else { panic!("{reads:?}") };
    assert_eq!(second.scope, first.scope);
    let seen = log(&store).await[2].position;
    assert_eq!((first.after, second.after), (Position::START, seen));
}

#[tokio::test]
async fn what_came_since_is_folded_once() {
    let store = school().await;
    let others = vec![("course-rust", places_changed("rust", 7))];
    let watched = Watched::new(&store).let_others_write(others);
    let decided = Annals::new(watched).decide(subscribe("joan", "rust")).await.unwrap();
    let places = decided.model.0;
    assert_eq!((places.capacity, places.taken, places.folded), (Some(7), 2, 4));
}

fn places_changed(course: &str, places: u32) -> NewEvent {
    CourseEvent::PlacesChanged { course: course.to_owned(), places }.encode().unwrap()
}

#[tokio::test]
async fn what_the_models_do_not_read_is_in_nobodys_way() {
    let store = school().await;
    let course = "rust".to_owned();
    let title = "Rust for all".to_owned();
    let titled = CourseEvent::CourseTitled { course, title }.encode().unwrap();
    let others = vec![("course-rust", titled), ("course-c", subscribed("eve", "c"))];
    let watched = Arc::new(Watched::new(&store).let_others_write(others));
    Annals::new(watched.clone()).decide(subscribe("joan", "rust")).await.unwrap();
    assert_eq!(watched.appends().len(), 1);
}

#[tokio::test]
async fn a_narrower_validation_query_lets_more_pass() {
    for (other, attempts) in [(subscribed("eve", "rust"), 1), (places_changed("rust", 5), 2)] {
        let store = school().await;
        let watched = Watched::new(&store).let_others_write(vec![("course-rust", other)]);
        let watched = Arc::new(watched);
        let enlarge = Enlarge { course: "rust".to_owned() };
        Annals::new(watched.clone()).decide(enlarge).await.unwrap();
        let appends = watched.appends();
        assert_eq!(appends.len(), attempts);
        // Narrower in what it asks for, and as wide in how that may be stored.
        let names = ["CourseDefined", "CourseMade", "CoursePlanned", "places-changed"];
        let expected = Query::of(types(&names).tag(tag("course:rust")));
        assert_eq!(appends[0].conditions[0].query, expected);
    }
}

#[tokio::test]
async fn exhausted_attempts_say_how_often() {
    let store = school().await;
    let other = || vec![("course-rust", places_changed("rust", 5))];
    let watched = Watched::new(&store).let_others_write(other()).let_others_write(other());
    let twice = RetryPolicy::default().attempts_max(2);
    let decided = Annals::new(watched).decide(subscribe("joan", "rust")).retry(twice).await;
    let error = decided.unwrap_err();
    assert!(matches!(error, ExecuteError::Conflict { attempts: 2, .. }), "{error:?}");
    assert_eq!(error.code(), "conflict");
}

#[tokio::test]
async fn models_may_be_of_several_enums() {
    let store = school().await;
    let left = StudentEvent::StudentLeft { student: "joan".to_owned() }.encode().unwrap();
    // Nobody was in the way of the first decision; the other enum's event is.
    let others = vec![("student-joan", left)];
    let watched = Watched::new(&store).let_others_write(others);
    let refused = Annals::new(watched).decide(subscribe("joan", "rust")).await.unwrap_err();
    assert!(matches!(refused, ExecuteError::Refused(Refusal::Gone)), "{refused:?}");
}

#[tokio::test]
async fn events_in_older_shapes_are_found_and_stand_in_the_way() {
    let store = MemoryStore::new();
    let school = Annals::new(store.clone());
    let planned = r#"{"course":"rust","title":"Rust","places":1}"#;
    let planned = raw("CoursePlanned", planned, &["course:rust"]);
    let stream = || StreamId::from_static("course-rust");
    store.append_to(stream(), ExpectedVersion::Any, [planned]).await.unwrap();
    let decided = school.decide(subscribe("ada", "rust")).await.unwrap();
    // The other half of the split, the title, is not asked for.
    assert_eq!((decided.model.0.capacity, decided.model.0.folded), (Some(1), 2));
    // An older program still writes the type that has become another.
    let made = raw("CourseMade", r#"{"course":"rust","places":4}"#, &["course:rust"]);
    let watched = Watched::new(&store).let_others_write(vec![("course-rust", made)]);
    let watched = Arc::new(watched);
    let decided = Annals::new(watched.clone()).decide(change("rust", 9)).await.unwrap();
    assert_eq!(watched.appends().len(), 2);
    assert_eq!((decided.model.capacity, decided.model.folded), (Some(9), 4));
}

#[tokio::test]
async fn the_same_id_decides_once() {
    let store = school().await;
    let school = Annals::new(store.clone());
    let request = || school.decide(subscribe("joan", "rust")).id("request-7");
    let first = request().await.unwrap();
    // Without the id it would be refused now, in two ways.
    school.decide(subscribe("eve", "rust")).await.unwrap_err();
    school.decide(change("rust", 1)).await.unwrap();
    let again = request().await.unwrap();
    assert!(again.repeated && !first.repeated);
    assert_eq!((again.appended, again.position), (first.appended, first.position));
    assert_eq!(again.model, first.model);
    let log = log(&store).await;
    assert_eq!(log.len(), 6);
    let joined = log.iter().find(|event| event.tags.contains(&tag("annals.command:request-7")));
    assert_eq!(joined.unwrap().metadata.get("causation"), Some("request-7".into()));
}

#[tokio::test]
async fn whoever_might_decide_it_then_is_told_what_came_of_it() {
    /// The owner of a course gives it away, and is not its owner any more.
    #[derive(Clone)]
    struct GiveAway;

    #[derive(Clone, Debug, Event)]
    enum Owned {
        Owned {
            #[event(tag = "thing")]
            thing: String,
            by: String,
        },
    }

    #[derive(Debug, DecisionModel)]
    #[model(event = Owned)]
    struct Owner {
        #[model(tag = "thing")]
        thing: String,
        name: String,
    }

    impl Apply<Owned> for Owner {
        fn apply(&mut self, Owned::Owned { by, .. }: Owned) {
            self.name = by;
        }
    }

    impl Decision for GiveAway {
        type Model = Owner;
        type Event = Owned;
        type Error = std::convert::Infallible;

        fn model(&self) -> Owner {
            Owner::of("ring")
        }

        fn authorise(&self, owner: &Owner, context: &Context) -> Result<(), annals::Denied> {
            let it_is_theirs = context.who() == Some(&owner.name);
            annals::Denied::unless(it_is_theirs, "only the owner gives it away")
        }

        fn decide(self, _: &Owner) -> Result<Vec<Owned>, Self::Error> {
            Ok(vec![Owned::Owned { thing: "ring".into(), by: "bob".into() }])
        }

        fn stream(&self, _: &Owned) -> Result<StreamId, InvalidName> {
            StreamId::of("thing", "ring")
        }
    }

    let annals = Annals::new(MemoryStore::new());
    let first = Owned::Owned { thing: "ring".into(), by: "ada".into() };
    annals.record(first).on("thing-ring").await.unwrap();
    let give = |by: &str| annals.decide(GiveAway).by(by).id("r-1");
    assert_eq!(give("ada").await.unwrap().model.name, "bob");
    let again = give("ada").await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.model.name, "bob");
    let error = give("bob").await.unwrap_err();
    assert!(matches!(error, ExecuteError::Denied(_)), "{error:?}");
}

#[tokio::test]
async fn a_decision_that_nothing_happens_appends_nothing() {
    let store = school().await;
    let decided = Annals::new(store.clone()).decide(change("rust", 2)).await.unwrap();
    let log = log(&store).await;
    assert_eq!((decided.appended, log.len()), (None, 4));
    assert_eq!((decided.model.taken, decided.position), (1, log[2].position));
}

#[tokio::test]
async fn a_stream_that_is_not_open_takes_nothing_until_it_is_restored() {
    let store = school().await;
    let anybody = |_: Retention, _: &StreamId, _: &Context| Ok(());
    let school = Annals::new(store.clone()).with_retention(anybody);
    let stream = || StreamId::from_static("course-rust");
    for (retention, standing) in [
        (Retention::Archive, Standing::Archived),
        (Retention::Delete, Standing::Deleted),
        (Retention::Close, Standing::Closed),
    ] {
        school.retain(stream(), retention).await.unwrap();
        let error = school.decide(change("rust", 8)).await.unwrap_err();
        let ExecuteError::Standing(not_open) = &error else { panic!("{error:?}") };
        assert_eq!((&not_open.stream, not_open.standing), (&stream(), standing));
        // Other streams are open, and what is in this one is still read.
        let full = school.decide(subscribe("ada", "rust")).await.unwrap_err();
        assert!(matches!(full, ExecuteError::Refused(Refusal::Already)), "{full:?}");
        school.decide(change("c", standing as u32 + 20)).await.unwrap();

        if standing == Standing::Closed {
            break;
        }
        school.retain(stream(), Retention::Restore).await.unwrap();
        school.decide(change("rust", standing as u32 + 20)).await.unwrap();
    }
}

/// Greets everybody, whatever has happened.
#[derive(Clone)]
struct Greet {
    students: Vec<String>,
}

impl Decision for Greet {
    type Model = ();
    type Event = StudentEvent;
    type Error = std::convert::Infallible;

    fn model(&self) -> Self::Model {}

    fn decide(self, (): &()) -> Result<Vec<StudentEvent>, Self::Error> {
        let students = self.students.into_iter();
        Ok(students.map(|student| StudentEvent::StudentEnrolled { student }).collect())
    }

    fn stream(&self, event: &StudentEvent) -> Result<StreamId, InvalidName> {
        let (StudentEvent::StudentEnrolled { student } | StudentEvent::StudentLeft { student }) =
            event;
        StreamId::of("student", student)
    }
}

#[tokio::test]
async fn without_a_model_nothing_is_read_and_events_go_to_their_streams() {
    let store = MemoryStore::new();
    let watched = Arc::new(Watched::new(&store));
    let students = ["ada", "grace", "ada"].map(str::to_owned).to_vec();
    let decided = Annals::new(watched.clone()).decide(Greet { students }).await.unwrap();
    assert_eq!(watched.reads(), []);
    let [Append { streams, conditions }] = &watched.appends()[..] else { panic!("one append") };
    let parts = streams.iter().map(|part| (part.stream.as_str(), part.events.len()));
    assert_eq!(parts.collect::<Vec<_>>(), [("student-ada", 2), ("student-grace", 1)]);
    assert_eq!(conditions.len(), 1, "that the streams are open: {conditions:?}");
    let receipt = decided.appended.unwrap();
    assert_eq!(decided.position, receipt.last_position);
}

/// Counts whatever it understands.
#[derive(Default)]
struct Everything(u32);

impl DecisionModel for Everything {
    type Event = StudentEvent;

    fn query(&self) -> Result<Query, InvalidName> {
        Ok(Query::all())
    }
}

impl Apply<StudentEvent> for Everything {
    fn apply(&mut self, _: StudentEvent) {
        self.0 += 1;
    }
}

#[derive(Clone)]
struct Count;

impl Decision for Count {
    type Model = Everything;
    type Event = StudentEvent;
    type Error = std::convert::Infallible;

    fn model(&self) -> Everything {
        Everything::default()
    }

    fn decide(self, counted: &Everything) -> Result<Vec<StudentEvent>, Self::Error> {
        Ok(vec![StudentEvent::StudentEnrolled { student: counted.0.to_string() }])
    }

    fn stream(&self, _: &StudentEvent) -> Result<StreamId, InvalidName> {
        StreamId::new("count")
    }
}

#[tokio::test]
async fn a_model_may_ask_for_everything_and_passes_over_what_it_does_not_know() {
    let store = school().await;
    let others = vec![("course-rust", raw("annals.StreamClosed", "{}", &[]))];
    let watched = Arc::new(Watched::new(&store).let_others_write(others));
    let decided = Annals::new(watched.clone()).decide(Count).await.unwrap();
    assert_eq!(decided.model.0, 1, "its own event");
    assert_eq!(watched.appends().len(), 2, "every event is in its way");
}

/// Looks at several courses, changes the first, and does not insist.
#[derive(Clone)]
struct Survey {
    courses: Vec<&'static str>,
}

impl Decision for Survey {
    type Model = Vec<Places>;
    type Event = CourseEvent;
    type Error = Refusal;

    fn model(&self) -> Vec<Places> {
        self.courses.iter().map(|course| Places::of(*course)).collect()
    }

    fn decide(self, surveyed: &Vec<Places>) -> Result<Vec<CourseEvent>, Refusal> {
        let places = surveyed.iter().filter_map(|places| places.capacity).sum();
        Ok(vec![CourseEvent::PlacesChanged { course: self.courses[0].to_owned(), places }])
    }

    fn stream(&self, _: &CourseEvent) -> Result<StreamId, InvalidName> {
        StreamId::of("course", self.courses[0])
    }

    fn retry(&self) -> Option<RetryPolicy> {
        Some(RetryPolicy::default().attempts_max(1))
    }
}

#[tokio::test]
async fn there_may_be_as_many_models_as_the_decision_says() {
    let store = school().await;
    let watched = Arc::new(Watched::new(&store));
    let survey = Survey { courses: vec!["rust", "c", "rust"] };
    let decided = Annals::new(watched.clone()).decide(survey).await.unwrap();
    let capacities: Vec<_> = decided.model.iter().filter_map(|course| course.capacity).collect();
    assert_eq!(capacities, [13, 9, 13], "2 + 9 + 2");
    // What two of them ask for is asked once.
    let Scope::Query(query) = &watched.reads()[0].scope else { panic!("a query") };
    assert_eq!(query.items().len(), 2);
}

#[tokio::test]
async fn a_decision_may_say_how_often_it_is_tried() {
    let store = school().await;
    let others = vec![("course-c", places_changed("c", 5))];
    let watched = Watched::new(&store).let_others_write(others);
    let error = Annals::new(watched).decide(Survey { courses: vec!["c"] }).await.unwrap_err();
    assert!(matches!(error, ExecuteError::Conflict { attempts: 1, .. }), "{error:?}");
}

/// What courses and students should look like.
#[derive(Clone, Debug, Default)]
struct Plain {
    courses: BTreeMap<u8, (u32, BTreeSet<u8>)>,
}

#[derive(Clone, Debug)]
enum Step {
    Define(u8, u32),
    Change(u8, u32),
    Subscribe(u8, u8),
}

impl Plain {
    fn take(&mut self, step: &Step) -> Result<(), Refusal> {
        let taken = |student| {
            let has = |(_, students): &&(u32, BTreeSet<u8>)| students.contains(student);
            self.courses.values().filter(has).count()
        };
        match step {
            Step::Define(course, _) if self.courses.contains_key(course) => {
                return Err(Refusal::Exists);
            }
            Step::Define(course, places) => {
                self.courses.insert(*course, (*places, BTreeSet::new()));
            }
            Step::Change(course, places) => {
                self.courses.get_mut(course).ok_or(Refusal::Unknown)?.0 = *places;
            }
            Step::Subscribe(student, course) => {
                let taken = taken(student);
                let (places, students) = self.courses.get_mut(course).ok_or(Refusal::Unknown)?;
                if students.contains(student) {
                    return Err(Refusal::Already);
                }
                if students.len() >= *places as usize {
                    return Err(Refusal::Full);
                }
                if taken >= COURSES_MAX as usize {
                    return Err(Refusal::TooMany);
                }
                students.insert(*student);
            }
        }
        Ok(())
    }
}

fn step() -> impl Strategy<Value = Step> {
    let (course, student, places) = (0..5_u8, 0..3_u8, 0..4_u32);
    prop_oneof![
        2 => (course.clone(), places.clone()).prop_map(|(course, places)| Step::Define(course, places)),
        1 => (course.clone(), places).prop_map(|(course, places)| Step::Change(course, places)),
        5 => (student, course).prop_map(|(student, course)| Step::Subscribe(student, course)),
    ]
}

proptest! {
    #[test]
    fn decisions_do_as_the_plain_model_does(steps in prop::collection::vec(step(), 0..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let school = Annals::new(MemoryStore::new());
            let mut plain = Plain::default();
            for step in steps {
                let decided = match &step {
                    Step::Define(course, places) => {
                        school.decide(define(&course.to_string(), *places)).await.map(drop)
                    }
                    Step::Change(course, places) => {
                        school.decide(change(&course.to_string(), *places)).await.map(drop)
                    }
                    Step::Subscribe(student, course) => {
                        let (student, course) = (student.to_string(), course.to_string());
                        school.decide(Subscribe { student, course }).await.map(drop)
                    }
                };
                let decided = decided.map_err(|error| match error {
                    ExecuteError::Refused(refusal) => refusal,
                    error => panic!("{error:?}"),
                });
                prop_assert_eq!(decided, plain.take(&step), "{:?}", step);
            }
            Ok(())
        })?;
    }
}
