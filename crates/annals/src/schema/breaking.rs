//! What stands against reading a locked shape, and what to write so that it can be read.

use std::fmt::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::compare::Change;
use super::words::in_words;

/// A shape that events were stored in, and that the program does not read as it was meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Breaking {
    /// The type of the events.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The schema version they are stored with.
    #[serde(rename = "schema_version")]
    pub version: u32,
    /// What has changed, when the program still has that shape.
    pub changes: Vec<Change>,
    /// What is wrong, and what to do.
    pub explanation: String,
}

impl fmt::Display for Breaking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.explanation)
    }
}

impl std::error::Error for Breaking {}

impl Breaking {
    fn of(event_type: &str, version: u32, explanation: String) -> Self {
        let event_type = event_type.to_owned();
        Self { event_type, version, changes: Vec::new(), explanation }
    }

    /// A shape was changed where it stands.
    pub(super) fn changed(
        event_type: &str,
        version: u32,
        old: &Value,
        new: &Value,
        mut changes: Vec<Change>,
        lost_tags: &[&str],
    ) -> Self {
        changes.extend(lost_tags.iter().map(|key| Change::untagged(key)));
        let mut text = format!("{event_type}: version {version} is locked, and has changed:\n");
        for Change { path, what } in &changes {
            let place = if path.is_empty() { "the data" } else { path };
            let _ = writeln!(text, "  - `{place}` {what}");
        }
        let next = version.saturating_add(1);
        let _ = write!(
            text,
            "Events stored in the locked shape stay as they are. Give the new one a version of its \
             own, `#[event(version = {next})]` above the variant, and say in the upcasters of its \
             enum what becomes of the others:\n{}",
            upcaster(event_type, version, old, new)
        );
        Self { changes, ..Self::of(event_type, version, text) }
    }

    /// A shape lacks tags that it had.
    pub(super) fn untagged(event_type: &str, version: u32, keys: &[&str]) -> Self {
        let next = version.saturating_add(1);
        let mut text = format!("{event_type}: version {version} is locked, and has lost tags:\n");
        for key in keys {
            let _ = writeln!(text, "  - `{key}`");
        }
        let _ = write!(
            text,
            "What asks for one of them would find the events that are stored, and none that is \
             recorded from now on. Write `#[event(tag = \"..\")]` above a field again; or, when \
             nothing asks for it any more, give what is written now a version of its own, \
             `#[event(version = {next})]` above the variant, with an upcaster that changes \
             nothing:\n\n    .upcast({event_type:?}, {version}, |_| {{}})\n"
        );
        let changes = keys.iter().map(|key| Change::untagged(key)).collect();
        Self { changes, ..Self::of(event_type, version, text) }
    }

    /// Nothing leads from a shape that the program has no more to one that it has.
    pub(super) fn dead_end(
        event_type: &str,
        version: u32,
        ended: Option<(&str, u32)>,
        newest: Option<&(u32, Value)>,
        old: &Value,
    ) -> Self {
        let mut text = format!("{event_type}: version {version} is locked, and ");
        let _ = match (ended, newest) {
            (Some((end, end_version)), _) => write!(
                text,
                "the upcasters lead from it to {end} version {end_version}, which the program does \
                 not know; lead on from there, or mend the version of the variant"
            ),
            (None, Some((newest, _))) if *newest < version => write!(
                text,
                "the program writes version {newest}, which is older; write \
                 `#[event(version = {version})]` above the variant, with the fields of that version"
            ),
            (None, Some((_, schema))) => write!(
                text,
                "no upcaster leads from it to what the program knows; say in the upcasters of its \
                 enum what becomes of such events:\n{}",
                upcaster(event_type, version, old, schema)
            ),
            (None, None) => write!(
                text,
                "the program does not know such events; keep the variant, or say in the upcasters \
                 of an enum what became of them: `.rename({event_type:?}, \"..\")` if it has \
                 another name now, `.drop_type({event_type:?})` if it means nothing any more"
            ),
        };
        Self::of(event_type, version, text)
    }

    /// A split makes what the program does not know.
    pub(super) fn split(event_type: &str, version: u32, into: &str) -> Self {
        let text = format!(
            "{event_type}: version {version} is locked, and split into {into}, which the program \
             does not know; add a variant for it, or split into others"
        );
        Self::of(event_type, version, text)
    }

    /// The program writes a shape from which an upcaster leads away.
    pub(super) fn led_away(event_type: &str, version: u32) -> Self {
        let next = version.saturating_add(1);
        let text = format!(
            "{event_type}: version {version} is what the program writes, and an upcaster leads \
             away from it, so that it could not read its own events; write \
             `#[event(version = {next})]` above the variant, or remove the upcaster"
        );
        Self::of(event_type, version, text)
    }

    /// The program writes a type of which every version is renamed or dropped.
    pub(super) fn all_led_away(event_type: &str, version: u32, finally: &str) -> Self {
        let text = format!(
            "{event_type}: version {version} is what the program writes, but `{finally}` is about \
             every version, so that it could not read its own events; remove the variant, or give \
             it another name. If only older versions are meant, say that of each of them instead, \
             as `.split({event_type:?}, 1, &[..], |data| ..)`, which makes events of another type, \
             or none at all"
        );
        Self::of(event_type, version, text)
    }

    pub(super) fn circle(event_type: &str, version: u32) -> Self {
        let text = format!(
            "{event_type}: the upcasters lead from version {version} in a circle; end it in a type \
             that the program knows"
        );
        Self::of(event_type, version, text)
    }
}

/// The upcaster to write, as Rust, with what can be told of it.
fn upcaster(event_type: &str, version: u32, old: &Value, new: &Value) -> String {
    let fields = Fields::of(old, new);
    let mut code = format!("\n    .upcast({event_type:?}, {version}, |data| {{\n");
    for (gone, new) in &fields.renamed {
        let _ = writeln!(code, "        if let Some(value) = data.remove({gone:?}) {{");
        let _ = writeln!(code, "            data.insert({new:?}.into(), value);");
        let _ = writeln!(code, "        }}");
    }
    for gone in &fields.gone {
        let _ = writeln!(code, "        data.remove({gone:?});");
    }
    for (new, schema) in &fields.new {
        let is = in_words(schema);
        let _ = writeln!(code, "        data.insert({new:?}.into(), todo!({is:?}));");
    }
    for (changed, was, is) in &fields.changed {
        let _ = writeln!(code, "        // Was {}, is {} now:", in_words(was), in_words(is));
        let _ = writeln!(code, "        data.insert({changed:?}.into(), todo!());");
    }
    if fields.is_empty() {
        let _ = writeln!(code, "        todo!()");
    }
    code.push_str("    })\n");
    code
}

/// The fields of the data that an upcaster has to do with.
struct Fields<'a> {
    renamed: Vec<(&'a str, &'a str)>,
    gone: Vec<&'a str>,
    new: Vec<(&'a str, &'a Value)>,
    changed: Vec<(&'a str, &'a Value, &'a Value)>,
}

impl<'a> Fields<'a> {
    fn of(old: &'a Value, new: &'a Value) -> Self {
        let (before, now) = (properties(old), properties(new));
        let find = |among: &[(&'a str, &'a Value)], name: &str| {
            among.iter().find(|(other, _)| *other == name).map(|(_, schema)| *schema)
        };
        let mut added: Vec<_> =
            now.iter().copied().filter(|(name, _)| find(&before, name).is_none()).collect();
        let mut fields = Self { renamed: vec![], gone: vec![], new: vec![], changed: vec![] };
        for (name, was) in before {
            match find(&now, name) {
                Some(is) if was != is => fields.changed.push((name, was, is)),
                Some(_) => {}
                None => match heir(name, was, &added) {
                    Some(index) => fields.renamed.push((name, added.remove(index).0)),
                    None => fields.gone.push(name),
                },
            }
        }
        let is_required = |name: &str| {
            let names = new.get("required").and_then(Value::as_array);
            names.is_some_and(|names| names.iter().any(|required| required == name))
        };
        added.retain(|(name, _)| is_required(name));
        fields.new = added;
        fields
    }

    fn is_empty(&self) -> bool {
        let Self { renamed, gone, new, changed } = self;
        renamed.is_empty() && gone.is_empty() && new.is_empty() && changed.is_empty()
    }
}

fn properties(schema: &Value) -> Vec<(&str, &Value)> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema)).collect()
}

/// The new field that a gone one has probably become: of the same type, and the most alike.
fn heir(gone: &str, was: &Value, added: &[(&str, &Value)]) -> Option<usize> {
    let alike = |name: &str| {
        let same = |pair: &(char, char)| pair.0 == pair.1;
        let front = gone.chars().zip(name.chars()).take_while(same).count();
        front + gone.chars().rev().zip(name.chars().rev()).take_while(same).count()
    };
    let fits = added.iter().enumerate().filter(|(_, (_, is))| *is == was);
    let best = fits.map(|(index, (name, _))| (alike(name), index)).max();
    best.filter(|(alike, _)| *alike > 1).map(|(_, index)| index)
}
