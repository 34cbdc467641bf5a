//! What becomes of one stored event.

use annals_core::{ContentType, Data, EventType, Panicked, RecordedEvent};
use serde_json::Value;

use super::{Failure, Finally, Step, Steps, Upcasters, as_object};
use crate::error::{DecodeError, DecodeFault};

/// What became of a stored event.
pub(crate) enum Upcasted {
    /// No upcaster concerns it.
    AsStored,
    /// These, in its place.
    Became(Vec<RecordedEvent>),
}

impl Upcasters {
    /// # Errors
    /// When an upcaster cannot read the data, or panics, or they lead in a circle.
    pub(crate) fn apply(&self, stored: &RecordedEvent) -> Result<Upcasted, DecodeError> {
        let steps = self.types.get(stored.event_type.as_str());
        if !steps.is_some_and(|steps| steps.concern(stored.schema_version)) {
            return Ok(Upcasted::AsStored);
        }
        let mut walk = Walk { upcasters: self, stored, done: Vec::new() };
        let shape = Shape {
            event_type: stored.event_type.as_str(),
            version: stored.schema_version,
            said: Said::AsStored,
        };
        walk.on(shape, 0).map_err(|fault| DecodeError::of(stored, fault))?;
        Ok(Upcasted::Became(walk.done))
    }
}

impl Steps {
    fn concern(&self, version: u32) -> bool {
        self.finally != Finally::Keep || self.versions.contains_key(&version)
    }
}

/// The way from one stored event to all it has become.
struct Walk<'a> {
    upcasters: &'a Upcasters,
    stored: &'a RecordedEvent,
    done: Vec<RecordedEvent>,
}

/// Where the way has come.
struct Shape<'a> {
    event_type: &'a str,
    version: u32,
    said: Said,
}

/// The data on their way. They are read as JSON only when a step asks for that.
enum Said {
    AsStored,
    Changed(Value),
}

impl<'a> Walk<'a> {
    /// Follows the steps to where none leads on.
    fn on(&mut self, mut shape: Shape<'a>, depth: u32) -> Result<(), DecodeFault> {
        /// Longer than any history of renames, and short enough to notice a circle.
        const DEPTH_MAX: u32 = 64;
        if depth > DEPTH_MAX {
            return Err(shape.fault("renames and splits lead in a circle".into()));
        }
        let Some(steps) = self.upcasters.types.get(shape.event_type) else {
            return self.arrive(shape);
        };
        while let Some(step) = steps.versions.get(&shape.version) {
            let data = self.json(std::mem::replace(&mut shape.said, Said::AsStored))?;
            match step {
                Step::Change(change) => {
                    let changed = Panicked::catch(|| change(data));
                    let changed = changed.map_err(|panicked| shape.fault(panicked.into()))?;
                    shape.said = Said::Changed(changed.map_err(|source| shape.fault(source))?);
                    shape.version += 1;
                }
                Step::Split { into, split } => {
                    let object = as_object(data).map_err(|source| shape.fault(source))?;
                    let parts = Panicked::catch(|| split(object));
                    for part in parts.map_err(|panicked| shape.fault(panicked.into()))? {
                        if !into.contains(&part.event_type) {
                            let made = part.event_type;
                            let fault = format!("it makes {made}, which is not announced");
                            return Err(shape.fault(fault.into()));
                        }
                        let part = Shape {
                            event_type: part.event_type,
                            version: part.schema_version,
                            said: Said::Changed(part.data),
                        };
                        self.on(part, depth + 1)?;
                    }
                    return Ok(());
                }
            }
        }
        match steps.finally {
            Finally::Keep => self.arrive(shape),
            Finally::Drop => Ok(()),
            Finally::Rename(new) => self.on(Shape { event_type: new, ..shape }, depth + 1),
        }
    }

    fn json(&self, said: Said) -> Result<Value, DecodeFault> {
        let Data { content_type, bytes } = &self.stored.data;
        match said {
            Said::Changed(value) => Ok(value),
            Said::AsStored if *content_type != ContentType::JSON => {
                Err(DecodeFault::ContentType { content_type: content_type.to_string() })
            }
            Said::AsStored => serde_json::from_slice(bytes).map_err(DecodeFault::Data),
        }
    }

    fn arrive(&mut self, shape: Shape<'_>) -> Result<(), DecodeFault> {
        let data = match shape.said {
            Said::AsStored => self.stored.data.clone(),
            Said::Changed(value) => Data::of(&value).map_err(DecodeFault::Data)?,
        };
        self.done.push(RecordedEvent {
            event_type: EventType::from_stored(shape.event_type),
            schema_version: shape.version,
            data,
            ..self.stored.clone()
        });
        Ok(())
    }
}

impl Shape<'_> {
    fn fault(&self, source: Failure) -> DecodeFault {
        DecodeFault::Upcast {
            event_type: self.event_type.to_owned(),
            version: self.version,
            source,
        }
    }
}
