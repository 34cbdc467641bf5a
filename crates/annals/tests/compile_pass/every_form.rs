//! Every form of event and aggregate that the derives take, with names that could collide with
//! those in the derived code.

#![deny(warnings)]

use annals::{Aggregate, Apply, Event};

#[derive(serde::Serialize, serde::Deserialize)]
struct Renamed {
    name: String,
}

#[derive(Event)]
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
        }
    }
}

fn main() {
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
