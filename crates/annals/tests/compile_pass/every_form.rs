//! Every form of event and aggregate that the derives take, with names that could collide with
//! those in the derived code.

#![deny(warnings)]

use annals::{Aggregate, Apply, Event, Upcasters};

#[derive(serde::Serialize, serde::Deserialize)]
struct Renamed {
    name: String,
}

#[derive(Event)]
#[event(upcasters = Self::upcasters_of_things)]
enum ThingEvent {
    Made,
    Emptied {},
    // A variant may have the name of the type it holds.
    Renamed(Renamed),
    #[event(name = "thing.moved", version = 3)]
    #[serde(rename_all = "kebab-case")]
    Moved {
        #[event(tag = "place")]
        to_place: String,
        #[event(tag = "mover")]
        #[event(tag = "actor")]
        mover: u8,
        #[serde(default)]
        stored: bool,
        r#type: Option<String>,
    },
    Owned {
        #[event(subject, tag = "owner")]
        owner: Option<u64>,
        // The names that derived code might give to types of its own.
        #[serde(flatten)]
        field: Field0,
    },
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Field0 {
    title: String,
}

impl ThingEvent {
    fn upcasters_of_things() -> Upcasters {
        Upcasters::new().drop_type("thing.painted")
    }
}

#[derive(Default, Aggregate)]
#[aggregate(category = "thing", event = ThingEvent)]
enum Thing {
    #[default]
    Unknown,
    Made,
}

impl Apply<ThingEvent> for Thing {
    fn apply(&mut self, event: ThingEvent) {
        match event {
            ThingEvent::Made => *self = Thing::Made,
            ThingEvent::Emptied {} => {}
            ThingEvent::Renamed(Renamed { name }) => drop(name),
            ThingEvent::Moved { to_place, mover, stored, r#type } => {
                drop((to_place, mover, stored, r#type));
            }
            ThingEvent::Owned { owner, field: Field0 { title } } => drop((owner, title)),
        }
    }
}

struct ShelfId(u8);

impl std::fmt::Display for ShelfId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Default, serde::Serialize, serde::Deserialize, Aggregate)]
#[aggregate(category = "shelf", event = ThingEvent, id = ShelfId)]
#[aggregate(unknown = skip, snapshot(version = 2), cache)]
struct Shelf(u32, Option<Vec<Self>>, #[serde(default)] std::collections::BTreeMap<String, u8>);

#[annals::fold]
impl Apply<ThingEvent> for Shelf {
    fn apply(&mut self, _: ThingEvent) {
        self.0 += 1;
    }
}

fn main() {
    assert!(Shelf::CACHE.is_some() && Shelf::SNAPSHOT.is_some());
    assert_eq!(ThingEvent::SHAPES.len(), 5);

    // Also inside a function.
    #[derive(Event)]
    enum Local {
        Happened { result: u8 },
    }
    let event = Local::Happened { result: 1 }.encode().unwrap();
    assert_eq!(&event.data.bytes[..], br#"{"result":1}"#);

    let moved = ThingEvent::Moved {
        to_place: "here".into(),
        mover: 7,
        stored: true,
        r#type: None,
    };
    let tags: Vec<_> = moved.encode().unwrap().tags.iter().map(|tag| tag.to_string()).collect();
    assert_eq!(tags, ["place:here", "mover:7", "actor:7"]);

    let mut thing = Thing::default();
    thing.apply(ThingEvent::Made);
    assert!(matches!(thing, Thing::Made));
    assert_eq!(Thing::CATEGORY, "thing");
}
