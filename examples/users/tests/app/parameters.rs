//! What a request may say, without any I/O.

use serde_json::{Value, json};
use users::parameters::{Invalid, creation, destruction};

fn whole() -> Value {
    json!({ "user": { "name": "Ada", "email": "ada@example.org", "password": "correct horse" } })
}

/// The field and the code of each fault.
fn faults(invalid: &Invalid) -> Vec<(&str, &str)> {
    invalid.errors.iter().map(|error| (error.field, error.code)).collect()
}

/// Checks that this value of one field, the others being right, has this fault or none.
#[track_caller]
fn check(field: &'static str, value: impl Into<Value>, fault: Option<&str>) {
    let mut body = whole();
    body["user"][field] = value.into();
    let text = body.to_string();
    let found = creation(body).err();
    let found: Vec<_> = found.iter().flat_map(faults).collect();
    let field = format!("user.{field}");
    let expected: Vec<_> = fault.iter().map(|code| (&*field, *code)).collect();
    assert_eq!(found, expected, "{text:.200}");
}

#[test]
fn a_whole_request_is_taken_and_spaces_around_it_are_not() {
    let mut body = whole();
    body["user"]["name"] = json!("  Ada Lovelace ");
    body["user"]["email"] = json!(" Ada@Example.org\n");
    body["user"]["password"] = json!("  8 chars");
    let permitted = creation(body).unwrap();
    assert_eq!(permitted.asked.name, "Ada Lovelace");
    assert_eq!(permitted.asked.email, "Ada@Example.org");
    assert_eq!(permitted.dropped, [""; 0]);
}

#[test]
fn all_faults_are_told_at_once() {
    let invalid = creation(json!({ "user": { "name": " ", "password": 7 } })).unwrap_err();
    let expected =
        [("user.name", "blank"), ("user.email", "missing"), ("user.password", "not_text")];
    assert_eq!(faults(&invalid), expected);
    for body in [json!([]), json!(null), json!("user"), json!({}), json!({ "usr": {} })] {
        assert_eq!(faults(&creation(body).unwrap_err()), [("user", "missing")]);
    }
    let invalid = creation(json!({ "user": ["Ada"] })).unwrap_err();
    assert_eq!(faults(&invalid), [("user", "not_object")]);
}

#[test]
fn what_is_not_known_is_dropped_and_named() {
    let mut body = whole();
    body["user"]["admin"] = json!(true);
    body["user"]["id"] = json!("mine");
    body["debug"] = json!({ "deep": 1 });
    assert_eq!(creation(body).unwrap().dropped, ["debug", "user.admin", "user.id"]);

    let mistyped = json!({ "user": { "name": "Ada", "e-mail": "a@b.c", "password": "12345678" } });
    let invalid = creation(mistyped).unwrap_err();
    assert_eq!(faults(&invalid), [("user.email", "missing")]);
    assert_eq!(invalid.dropped, ["user.e-mail"]);
}

#[test]
fn names() {
    check("name", "N", None);
    check("name", "Ägidius ₤", None);
    check("name", "n".repeat(200), None);
    check("name", "é".repeat(201), Some("too_long"));
    check("name", "\t", Some("blank"));
    check("name", "Ada\nLovelace", Some("malformed"));
    check("name", "Ada\0", Some("malformed"));
    check("name", json!({ "first": "Ada" }), Some("not_text"));
    check("name", Value::Null, Some("not_text"));
}

#[test]
fn email_addresses() {
    let label = "l".repeat(63);
    for good in ["a@b", "a.b+c@d-e.example", "o'neill@example.org", &format!("a@{label}.org")] {
        check("email", good, None);
    }
    check("email", " ", Some("blank"));
    check("email", format!("a@{}", [&*label; 4].join(".")), Some("too_long"));
    let (long_label, long_local) = (format!("a@{label}l.org"), format!("{}@b.org", "l".repeat(65)));
    for bad in [
        "ada",
        "@",
        "a@",
        "@b.org",
        "a@b@c",
        "a b@c.org",
        "a@b..org",
        "a@.org",
        "a@-b.org",
        "a@b-.org",
        "a@b.org.",
        "ä@b.org",
        "a@ä.org",
        "a@b_c.org",
        "a\0@b.org",
        &long_label,
        &long_local,
    ] {
        check("email", bad, Some("malformed"));
    }
}

#[test]
fn passwords() {
    check("password", "1234567", Some("too_short"));
    check("password", "12345678", None);
    check("password", "€€€€€€€€", None);
    check("password", "€€€€€€€", Some("too_short"));
    check("password", "p".repeat(1_024), None);
    check("password", "p".repeat(1_025), Some("too_long"));
}

#[test]
fn a_destruction_names_a_user() {
    let id = "01a1fec5-b161-7520-b310-4b0121d18fcd";
    let permitted = destruction(json!({ "user": { "id": id, "really": true } })).unwrap();
    assert_eq!(permitted.asked.to_string(), id);
    assert_eq!(permitted.dropped, ["user.really"]);
    for (body, fault) in [
        (json!({ "user": {} }), ("user.id", "missing")),
        (json!({ "user": { "id": 7 } }), ("user.id", "not_text")),
        (json!({ "user": { "id": "7" } }), ("user.id", "malformed")),
        (json!({ "id": id }), ("user", "missing")),
    ] {
        assert_eq!(faults(&destruction(body).unwrap_err()), [fault]);
    }
}

#[test]
fn a_password_is_not_shown() {
    let permitted = creation(whole()).unwrap();
    let shown = format!("{permitted:?}");
    assert!(shown.contains("ada@example.org") && !shown.contains("horse"), "{shown}");
}
