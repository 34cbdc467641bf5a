//! What a request says, validated: all faults at once, and what is not known dropped and named.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::password::Password;
use crate::user::UserId;

const NAME_CHARS_MAX: usize = 200;
/// As the mail protocol has them.
const EMAIL_BYTES_MAX: usize = 254;
const EMAIL_LOCAL_BYTES_MAX: usize = 64;
const PASSWORD_CHARS_MIN: usize = 8;
const PASSWORD_BYTES_MAX: usize = 1_024;

/// The parameters of a creation.
#[derive(Debug)]
#[expect(missing_docs, reason = "the words of the domain explain themselves")]
#[non_exhaustive]
pub struct Creation {
    pub name: String,
    pub email: String,
    pub password: Password,
}

/// The parameters that are known, and the names of those that are not.
#[derive(Debug)]
#[non_exhaustive]
pub struct Permitted<T> {
    /// What is asked for.
    pub asked: T,
    /// What nobody looked at, like `user.admin`.
    pub dropped: Vec<String>,
}

/// Parameters that cannot be meant.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invalid {
    /// What is wrong with each of them.
    pub errors: Vec<FieldError>,
    /// What nobody looked at: a name that is only mistyped is found here.
    pub dropped: Vec<String>,
}

/// What is wrong with one field, for a program (`code`) and for a person (`message`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "reactors make them too")]
#[expect(missing_docs, reason = "said above")]
pub struct FieldError {
    pub field: &'static str,
    pub code: &'static str,
    pub message: String,
}

impl FieldError {
    pub(crate) fn new(field: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { field, code, message: message.into() }
    }

    /// Nobody of this domain is wanted.
    pub(crate) fn blocked_domain(domain: &str) -> Self {
        let message = format!("addresses at {domain} are blocked; use another one");
        Self::new("user.email", "blocked", message)
    }
}

/// Reads `{"user": {"name", "email", "password"}}`.
///
/// # Errors
/// [`Invalid`], with every fault there is.
pub fn creation(body: Value) -> Result<Permitted<Creation>, Invalid> {
    let mut fields = Fields::of(body);
    let name = fields.parsed("user.name", |text| name(&text));
    let email = fields.parsed("user.email", |text| email(&text));
    let password = fields.parsed("user.password", password);
    let asked = match (name, email, password) {
        (Some(name), Some(email), Some(password)) => Some(Creation { name, email, password }),
        _ => None,
    };
    fields.finish(asked)
}

/// Reads `{"user": {"id"}}`.
///
/// # Errors
/// [`Invalid`].
pub fn destruction(body: Value) -> Result<Permitted<UserId>, Invalid> {
    let mut fields = Fields::of(body);
    let asked = fields.parsed("user.id", |text| {
        text.parse().map_err(|_| ("malformed", "must be a UUID, as GET /users shows them".into()))
    });
    fields.finish(asked)
}

/// What is wrong with a text: the code and the message.
type Fault = (&'static str, String);

fn name(text: &str) -> Result<String, Fault> {
    let name = text.trim();
    if name.is_empty() {
        return Err(("blank", "must not be empty".to_owned()));
    }
    if name.chars().any(char::is_control) {
        return Err(("malformed", "must not hold control characters".to_owned()));
    }
    let chars = name.chars().count();
    if chars > NAME_CHARS_MAX {
        let message = format!("has {chars} characters; at most {NAME_CHARS_MAX} are allowed");
        return Err(("too_long", message));
    }
    Ok(name.to_owned())
}

/// Lenient on purpose: whether an address exists is only known once a mail has arrived. ASCII
/// only, so that every database has the same opinion on which letters are the same.
fn email(text: &str) -> Result<String, Fault> {
    let email = text.trim();
    if email.is_empty() {
        return Err(("blank", "must not be empty".to_owned()));
    }
    if email.len() > EMAIL_BYTES_MAX {
        let message = format!("has {} bytes; at most {EMAIL_BYTES_MAX} are allowed", email.len());
        return Err(("too_long", message));
    }
    let is_address = email.split_once('@').is_some_and(|(local, domain)| {
        (1..=EMAIL_LOCAL_BYTES_MAX).contains(&local.len())
            && local.bytes().all(|byte| byte.is_ascii_graphic())
            && domain.split('.').all(is_label)
    });
    if !is_address {
        let message = "must be an address like ada@example.org, in ASCII letters".to_owned();
        return Err(("malformed", message));
    }
    Ok(email.to_owned())
}

/// A part of a domain between its dots.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Any characters are welcome, spaces included: length is what makes a password good.
fn password(text: String) -> Result<Password, Fault> {
    let password = Password::new(text);
    let (chars, bytes) = password.size();
    if chars < PASSWORD_CHARS_MIN {
        let message = format!("must have at least {PASSWORD_CHARS_MIN} characters");
        return Err(("too_short", message));
    }
    if bytes > PASSWORD_BYTES_MAX {
        return Err(("too_long", format!("must have at most {PASSWORD_BYTES_MAX} bytes")));
    }
    Ok(password)
}

/// The fields below `user`, each taken out when it is asked for; what is left is dropped.
struct Fields {
    left: Map<String, Value>,
    errors: Vec<FieldError>,
    dropped: Vec<String>,
}

impl Fields {
    fn of(body: Value) -> Self {
        let mut fields = Self { left: Map::new(), errors: Vec::new(), dropped: Vec::new() };
        let Value::Object(mut body) = body else {
            fields.fault("user", "missing", "must be there, in a JSON object");
            return fields;
        };
        match body.remove("user") {
            Some(Value::Object(user)) => fields.left = user,
            Some(_) => fields.fault("user", "not_object", "must be a JSON object"),
            None => fields.fault("user", "missing", "must be there"),
        }
        fields.dropped.extend(body.into_iter().map(|(name, _)| name));
        fields
    }

    /// The value of the field, when it is there, is text, and parses.
    fn parsed<T>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(String) -> Result<T, Fault>,
    ) -> Option<T> {
        if self.errors.iter().any(|error| error.field == "user") {
            return None;
        }
        let key = field.strip_prefix("user.").unwrap_or(field);
        let parsed = match self.left.remove(key) {
            Some(Value::String(text)) => parse(text),
            Some(_) => Err(("not_text", "must be text".to_owned())),
            None => Err(("missing", "must be there".to_owned())),
        };
        parsed.map_err(|(code, message)| self.fault(field, code, message)).ok()
    }

    fn fault(&mut self, field: &'static str, code: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, code, message));
    }

    fn finish<T>(self, asked: Option<T>) -> Result<Permitted<T>, Invalid> {
        let Self { left, errors, mut dropped } = self;
        dropped.extend(left.into_iter().map(|(name, _)| format!("user.{name}")));
        dropped.sort_unstable();
        match asked {
            Some(asked) => Ok(Permitted { asked, dropped }),
            None => Err(Invalid { errors, dropped }),
        }
    }
}
