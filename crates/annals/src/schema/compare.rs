//! Whether what was written in one shape can be read in another, and what stands against it.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use super::canonical::{DESCRIBED, FLATTENED, TYPE, WITH, without_types};
use super::words::{Alternative, in_words, is_anything, is_named, is_of_type, text};

/// What has changed at one place of a shape, so that older events would not be read as they were
/// meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// Where: `lines[].sku`; empty for the data as a whole.
    pub path: String,
    /// What was there and what is there now.
    pub what: String,
}

impl Change {
    pub(super) fn untagged(key: &str) -> Self {
        Self { path: String::new(), what: format!("has no tag `{key}` any more") }
    }
}

/// What changed from an older shape to a newer one; nothing, when all that fits the older also
/// fits the newer and no part of it is lost. Both are canonical.
pub(crate) fn changes(old: &Value, new: &Value) -> Vec<Change> {
    // What refers to the whole need not be looked at again.
    let entered = BTreeSet::from([("#".to_owned(), "#".to_owned())]);
    let mut comparison = Comparison { roots: (old, new), entered, changes: Vec::new() };
    comparison.compare("", old, new);
    comparison.changes
}

struct Comparison<'a> {
    roots: (&'a Value, &'a Value),
    /// The references that were followed, so that a shape which holds itself has an end.
    entered: BTreeSet<(String, String)>,
    changes: Vec<Change>,
}

type Keywords = Map<String, Value>;

impl<'a> Comparison<'a> {
    fn compare(&mut self, path: &str, old: &'a Value, new: &'a Value) {
        let references = (text(old, "$ref"), text(new, "$ref"));
        if let (None, None) = references {
            if old == new && !old.to_string().contains("\"$ref\"") {
                return;
            }
        } else {
            let pair = (references.0.unwrap_or(path), references.1.unwrap_or(path));
            if !self.entered.insert((pair.0.to_owned(), pair.1.to_owned())) {
                return;
            }
        }
        let named = text(old, "title");
        let is_described = named.is_some_and(|title| is_of_type(new, title));
        let (old, new) = (resolved(self.roots.0, old), resolved(self.roots.1, new));
        let (with, is_with) = (text(old, WITH), text(new, WITH));
        match (is_named(old), is_named(new)) {
            // What other functions write, only they can read.
            _ if with.is_some() && with == is_with => {}
            (false, false) if with == is_with && !is_anything(old) && !is_anything(new) => {
                self.keywords(path, old, new);
            }
            _ if with.is_none() && is_anything(new) || old == new && old.is_boolean() => {}
            // What had no schema may get one: nothing is known against it.
            (true, false) if is_described => {}
            (true, true) if old == new => {}
            _ => self.note(path, format!("was {}, and is {} now", in_words(old), in_words(new))),
        }
    }

    fn keywords(&mut self, path: &str, before: &'a Value, now: &'a Value) {
        let (Some(old), Some(new)) = (before.as_object(), now.as_object()) else {
            let (before, now) = (in_words(before), in_words(now));
            return self.note(path, format!("was {before}, and is {now} now"));
        };
        if Alternative::are_in(old) || Alternative::are_in(new) {
            self.alternatives(path, before, now);
            if Alternative::are_in(old) && Alternative::are_in(new) {
                // What stands beside them, as when they are flattened into their parent.
                self.properties(path, old, new);
            }
            return;
        }
        if new.contains_key("type") && !types(old).is_subset(&types(new)) {
            let (before, now) = (in_words(before), in_words(now));
            return self.note(path, format!("was {before}, and is {now} now"));
        }
        self.values(path, old, new);
        self.bounds(path, old, new);
        self.properties(path, old, new);
        self.items(path, old, new);
        self.others(path, old, new);
    }

    /// Which values a text may have.
    fn values(&mut self, path: &str, old: &Keywords, new: &Keywords) {
        let Some(now) = values(new) else { return };
        match values(old) {
            None => {
                let now = in_words(&Value::Object(new.clone()));
                self.note(path, format!("could be any, and is {now} now"));
            }
            Some(before) => {
                for gone in before.iter().filter(|value| !now.contains(value)) {
                    self.note(path, format!("can no longer be {gone}"));
                }
            }
        }
    }

    /// How large or long it may be.
    fn bounds(&mut self, path: &str, old: &Keywords, new: &Keywords) {
        for (keyword, now) in new {
            let Some(now) = now.as_f64() else { continue };
            let before = old.get(keyword).and_then(Value::as_f64);
            let fits = match before {
                Some(before) if keyword.contains("inimum") || keyword.starts_with("min") => {
                    now <= before
                }
                Some(before) if keyword.contains("aximum") || keyword.starts_with("max") => {
                    now >= before
                }
                Some(before) => (now - before).abs() < f64::EPSILON,
                // All of its type fit, if the type of old had the bound by its nature.
                None => false,
            };
            if !fits {
                let before = before.map_or("not there".to_owned(), |before| before.to_string());
                self.note(path, format!("`{keyword}` was {before}, and is {now} now"));
            }
        }
        let formats = (format(old), format(new));
        if let (before, Some(now)) = formats
            && before != Some(now)
            && !before.is_some_and(|before| is_wider(before, now))
        {
            let before = before.unwrap_or("of any format");
            self.note(path, format!("was {before}, and is {now} now"));
        }
    }

    fn properties(&mut self, path: &str, old: &'a Keywords, new: &'a Keywords) {
        let of = |keywords: &'a Keywords| keywords.get("properties").and_then(Value::as_object);
        let (before, now) = (of(old), of(new));
        let had = |name: &str| before.is_some_and(|before| before.contains_key(name));
        let has = |name: &str| now.and_then(|now| now.get(name));
        let gets_schema = self.flattened(path, old, new);
        let others = |keywords: &'a Keywords| {
            keywords.get("additionalProperties").or_else(|| keywords.get("unevaluatedProperties"))
        };
        for (name, was) in before.into_iter().flatten() {
            let place = joined(path, name);
            match has(name).or_else(|| others(new).filter(|others| others.is_object())) {
                Some(is) => self.compare(&place, was, is),
                None => self.note(&place, format!("is gone; it was {}", in_words(was))),
            }
        }
        for (name, is) in now.into_iter().flatten().filter(|(name, _)| is_required(new, name)) {
            let place = joined(path, name);
            if had(name) && !is_required(old, name) {
                self.note(&place, "is required now, and was not".to_owned());
            } else if !had(name) && !gets_schema {
                self.note(&place, format!("is new, and required: {}", in_words(is)));
            }
        }
        if let Some(was) = others(old).filter(|others| others.is_object()) {
            for (name, is) in now.into_iter().flatten().filter(|(name, _)| !had(name)) {
                self.compare(&joined(path, name), was, is);
            }
        }
        match (others(old), others(new)) {
            (Some(Value::Bool(false)), _) | (_, Some(Value::Bool(true))) | (None, None) => {}
            (Some(was), None) => {
                let was = in_words(was);
                self.note(path, format!("could have any fields, each {was}, and loses them now"));
            }
            (Some(was @ Value::Object(_)), Some(is)) => self.compare(&joined(path, "*"), was, is),
            (_, Some(Value::Bool(false))) => {
                self.note(path, "refuses unknown fields now".to_owned());
            }
            (_, Some(is)) => {
                let is = in_words(is);
                self.note(path, format!("could have any other fields, and now only {is}"));
            }
        }
    }

    /// What is flattened and known by its name only. Whether it has a schema now, so that its
    /// fields are new among those of the whole and always were there.
    fn flattened(&mut self, path: &str, old: &Keywords, new: &Keywords) -> bool {
        let mut gets_schema = false;
        for (keyword, was) in old {
            let Some(name) = keyword.strip_prefix(FLATTENED) else { continue };
            match new.get(keyword) {
                None => self.note(path, format!("`{name}` is no longer flattened into it")),
                Some(is) if *was == true => gets_schema |= *is == DESCRIBED,
                Some(is) if *is == true => {
                    self.note(path, format!("`{name}`, flattened into it, is required now"));
                }
                Some(_) => {}
            }
        }
        for (keyword, is) in new {
            let Some(name) = keyword.strip_prefix(FLATTENED) else { continue };
            if *is == true && !old.contains_key(keyword) {
                let what =
                    format!("`{name}` is flattened into it now, of which only the name is known");
                self.note(path, what);
            }
        }
        gets_schema
    }

    fn items(&mut self, path: &str, old: &'a Keywords, new: &'a Keywords) {
        let place = format!("{path}[]");
        if let (Some(was), Some(is)) = (old.get("items"), new.get("items")) {
            self.compare(&place, was, is);
        }
        let firsts = |keywords: &'a Keywords| keywords.get("prefixItems").and_then(Value::as_array);
        let nth = |n: usize| format!("{path}[{n}]");
        match (firsts(old), firsts(new)) {
            (Some(before), Some(now)) => {
                for (n, (was, is)) in before.iter().zip(now).enumerate() {
                    self.compare(&nth(n), was, is);
                }
            }
            (Some(before), None) => {
                let Some(is) = new.get("items") else {
                    return self
                        .note(path, "had a type at each place, and has none now".to_owned());
                };
                for (n, was) in before.iter().enumerate() {
                    self.compare(&nth(n), was, is);
                }
            }
            (None, Some(now)) => {
                let Some(was) = old.get("items") else {
                    return self.note(path, "could hold anything at each place".to_owned());
                };
                for (n, is) in now.iter().enumerate() {
                    self.compare(&nth(n), was, is);
                }
            }
            (None, None) => {}
        }
    }

    /// Keywords about which nothing is known here may not change.
    fn others(&mut self, path: &str, old: &Keywords, new: &Keywords) {
        const KNOWN: [&str; 16] = [
            "$defs",
            "$ref",
            "additionalProperties",
            "anyOf",
            "const",
            "enum",
            "format",
            "items",
            "oneOf",
            "prefixItems",
            "properties",
            "required",
            "type",
            "title",
            "unevaluatedProperties",
            TYPE,
        ];
        for (keyword, is) in new {
            let known = KNOWN.contains(&keyword.as_str())
                || keyword.starts_with(FLATTENED)
                || is.is_number();
            if !known && old.get(keyword) != Some(&without_types(is)) {
                self.note(path, format!("`{keyword}` has changed"));
            }
        }
    }

    /// Each alternative of the old shape must fit one of the new.
    fn alternatives(&mut self, path: &str, old: &'a Value, new: &'a Value) {
        let (before, now) = (Alternative::of(old), Alternative::of(new));
        for was in &before {
            if now.iter().any(|is| self.fits(path, was.schema, is.schema)) {
                continue;
            }
            let place = match was.name.as_str() {
                "" => path.to_owned(),
                name => format!("{path}({name})"),
            };
            match now.iter().find(|is| is.name == was.name) {
                Some(is) => self.compare(&place, was.schema, is.schema),
                None => self.note(&place, "is no longer one of the alternatives".to_owned()),
            }
        }
    }

    fn fits(&self, path: &str, old: &'a Value, new: &'a Value) -> bool {
        let mut apart =
            Comparison { roots: self.roots, entered: self.entered.clone(), changes: Vec::new() };
        apart.compare(path, old, new);
        apart.changes.is_empty()
    }

    fn note(&mut self, path: &str, what: String) {
        self.changes.push(Change { path: path.to_owned(), what });
    }
}

/// What a reference stands for.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let target = text(schema, "$ref").and_then(|reference| reference.strip_prefix('#'));
    target.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

fn types(keywords: &Keywords) -> BTreeSet<&str> {
    match keywords.get("type") {
        Some(Value::String(one)) => BTreeSet::from([one.as_str()]),
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

fn values(keywords: &Keywords) -> Option<Vec<&Value>> {
    let several = keywords.get("enum").and_then(Value::as_array);
    let several = several.map(|values| values.iter().collect());
    several.or_else(|| keywords.get("const").map(|value| vec![value]))
}

fn format(keywords: &Keywords) -> Option<&str> {
    keywords.get("format").and_then(Value::as_str)
}

/// Whether every number of one format is one of the other.
fn is_wider(old: &str, new: &str) -> bool {
    let bits = |format: &str| -> Option<(bool, u32)> {
        let (signed, bits) = match format.strip_prefix("uint") {
            Some("") => (false, "64"),
            Some(bits) => (false, bits),
            None => match format.strip_prefix("int")? {
                "" => (true, "64"),
                bits => (true, bits),
            },
        };
        Some((signed, bits.parse().ok()?))
    };
    match (bits(old), bits(new)) {
        (Some((was_signed, was)), Some((is_signed, is))) if was_signed == is_signed => was <= is,
        (Some((false, was)), Some((true, is))) => was < is,
        _ => (old, new) == ("float", "double"),
    }
}

fn is_required(keywords: &Keywords, name: &str) -> bool {
    let names = keywords.get("required").and_then(Value::as_array);
    names.is_some_and(|names| names.iter().any(|required| required == name))
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use schemars::{JsonSchema, schema_for};
    use serde_json::json;

    use super::super::canonical::canonical;
    use super::*;

    /// A module with types of one version of a program.
    macro_rules! program {
        ($name:ident { $($types:item)* }) => {
            #[allow(dead_code, reason = "the types are there to be described")]
            mod $name {
                use super::*;
                $(#[derive(JsonSchema)] $types)*
            }
        };
    }

    program!(old {
        pub(super) struct Order { lines: Vec<Line>, status: Status, note: Option<String>, by: Payment }
        struct Line { sku: String, amount: u16 }
        enum Status { Open, Paid, Sent { to: String } }
        #[serde(tag = "kind")]
        enum Payment { Card { number: String }, Cash }
        pub(super) struct Folder { folders: Vec<Folder>, name: String }
    });
    program!(wider {
        pub(super) struct Order {
            lines: Vec<Line>,
            status: Option<Status>,
            note: Option<String>,
            #[serde(default)] rush: bool,
            by: Payment,
        }
        struct Line { sku: String, amount: u32, weight: Option<f64> }
        enum Status { Open, Paid, Sent { to: String, at: Option<String> }, Lost }
        #[serde(tag = "kind")]
        enum Payment { Card { number: String }, Cash, Transfer { iban: String } }
        pub(super) struct Folder { folders: Vec<Folder>, name: Option<String> }
    });
    program!(other {
        pub(super) struct Order { lines: Vec<Line>, status: Status, note: String, by: Payment, at: String }
        struct Line { sku: u64, amount: u8 }
        enum Status { Paid, Sent { to: u8 } }
        #[serde(tag = "kind")]
        enum Payment { Card { holder: String } }
        pub(super) struct Folder { folders: Vec<Folder>, name: u8 }
    });

    fn of<A: JsonSchema, B: JsonSchema>() -> Vec<String> {
        let (old, new) = (schema_for!(A), schema_for!(B));
        between(old.as_value(), new.as_value())
    }

    fn between(old: &Value, new: &Value) -> Vec<String> {
        let changes = changes(&canonical(old), &canonical(new));
        changes.into_iter().map(|change| format!("{}: {}", change.path, change.what)).collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn the_same_and_what_is_wider_fit() {
        assert_eq!(of::<old::Order, old::Order>(), NONE);
        assert_eq!(of::<old::Order, wider::Order>(), NONE);
        assert_eq!(of::<old::Folder, wider::Folder>(), NONE);
    }

    #[test]
    fn what_is_narrower_or_other_is_told_with_its_place() {
        let changes = of::<old::Order, other::Order>();
        let expected = [
            "by(Card).number: is gone; it was a text",
            "by(Card).holder: is new, and required: a text",
            "by(Cash): is no longer one of the alternatives",
            "lines[].amount: `maximum` was 65535, and is 255 now",
            "lines[].amount: was uint16, and is uint8 now",
            "lines[].sku: was a text, and is a whole number (uint64) now",
            "note: was a text or null, and is a text now",
            "status: can no longer be \"Open\"",
            "status(Sent).Sent.to: was a text, and is a whole number (uint8) now",
            "at: is new, and required: a text",
            "note: is required now, and was not",
        ];
        for expected in expected {
            assert!(changes.iter().any(|change| change == expected), "{expected}\n{changes:#?}");
        }
        assert_eq!(changes.len(), expected.len(), "{changes:#?}");
        assert_eq!(of::<wider::Folder, old::Folder>().len(), 2);
        assert_eq!(
            of::<old::Folder, other::Folder>(),
            ["name: was a text, and is a whole number (uint8) now"]
        );
    }

    #[test]
    fn wider_is_never_narrower_again() {
        let back = of::<wider::Order, old::Order>();
        for place in ["status", "by(Transfer)", "lines[].amount", "lines[].weight", "rush"] {
            assert!(back.iter().any(|change| change.starts_with(place)), "{place}: {back:#?}");
        }
    }

    #[test]
    fn of_a_name_nothing_is_known_until_it_has_a_schema() {
        let [named, other] = [json!({ "title": "Item" }), json!({ "title": "Line" })];
        let described = json!({ "type": "object", "x-type": "Item" });
        assert_eq!(between(&named, &named), NONE);
        assert_eq!(between(&named, &described), NONE);
        assert_eq!(between(&other, &described), [": was `Line`, and is an object now"]);
        assert_eq!(between(&named, &json!(true)), NONE);
        assert_eq!(between(&named, &other), [": was `Item`, and is `Line` now"]);
        assert_eq!(between(&described, &named), [": was an object, and is `Item` now"]);
        assert_eq!(between(&json!(true), &described), [": was anything, and is an object now"]);
    }

    #[test]
    fn bounds_and_what_is_not_known_may_not_become_tighter() {
        let text = |keyword: &str, value: Value| json!({ "type": "string", keyword: value });
        for keyword in ["minLength", "pattern", "format", "enum", "multipleOf"] {
            let value = match keyword {
                "enum" => json!(["a"]),
                "pattern" | "format" => json!("uuid"),
                _ => json!(3),
            };
            let (free, bound) = (json!({ "type": "string" }), text(keyword, value));
            assert_eq!(between(&bound, &free), NONE, "{keyword}");
            assert_eq!(between(&free, &bound).len(), 1, "{keyword}");
        }
        assert_eq!(between(&text("minLength", 3.into()), &text("minLength", 2.into())), NONE);
        assert_eq!(between(&text("maxLength", 3.into()), &text("maxLength", 2.into())).len(), 1);
    }

    #[test]
    fn a_map_keeps_what_is_in_it() {
        let map = |of: Value| json!({ "type": "object", "additionalProperties": of });
        let (texts, numbers) = (map(json!({ "type": "string" })), map(json!({ "type": "number" })));
        assert_eq!(between(&texts, &texts), NONE);
        assert_eq!(between(&texts, &numbers), ["*: was a text, and is a number now"]);
        let named = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
        assert_eq!(between(&named, &texts).len(), 1, "other fields could be anything");
    }
}
