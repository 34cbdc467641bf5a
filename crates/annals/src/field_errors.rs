//! What is wrong with a command itself: every field at once, for people and for machines.

use std::error::Error;
use std::fmt;

use serde::Serialize;
use validator::{Validate, ValidationError, ValidationErrors, ValidationErrorsKind};

/// Everything that is wrong with a command, whatever the state: field by field.
///
/// Collect it in [`Command::field_errors`](crate::Command::field_errors): first the rules that stand as
/// attributes at the fields, for which the command derives [`validator::Validate`], then the
/// rules across fields.
///
/// ```
/// use annals::FieldErrors;
/// use validator::Validate;
///
/// #[derive(Validate)]
/// struct CreateOrder {
///     #[validate(length(min = 1, message = "say who orders"))]
///     user: String,
///     #[validate(length(min = 1, message = "order at least one thing"))]
///     prices: Vec<u64>,
///     total: u64,
/// }
///
/// fn field_errors(order: &CreateOrder) -> FieldErrors {
///     let sum: u64 = order.prices.iter().sum();
///     FieldErrors::of(order)
///         .check(order.total == sum, "total", "mismatch", "does not match the items")
/// }
///
/// let errors = field_errors(&CreateOrder { user: String::new(), prices: vec![], total: 7 });
/// let codes: Vec<_> = errors.iter().map(|error| (&*error.path, &*error.code)).collect();
/// assert_eq!(codes, [("prices", "length"), ("total", "mismatch"), ("user", "length")]);
/// ```
///
/// Nothing of it repeats the refused values, which may be secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct FieldErrors(
    /// Sorted by path.
    Vec<FieldError>,
);

/// What is wrong with one field of a command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct FieldError {
    /// Which field: `items[2].price`.
    pub path: String,
    /// Which rule, for machines: `length`, `range`, or one of the application's own.
    pub code: String,
    /// What to do, for people.
    pub message: String,
}

impl FieldErrors {
    /// What the rules at the command's fields say.
    #[must_use]
    pub fn of(command: &impl Validate) -> Self {
        let mut errors = Self::default();
        if let Err(broken) = command.validate() {
            errors.add_all("", &broken);
            errors.0.sort();
        }
        errors
    }

    /// Without any.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The same, and one more unless a rule holds: `code` says which, `message` what to do.
    #[must_use]
    pub fn check(mut self, holds: bool, path: &str, code: &str, message: &str) -> Self {
        if !holds {
            self.add(path.to_owned(), code, message.to_owned());
            self.0.sort();
        }
        self
    }

    /// `Ok` when there are none.
    ///
    /// # Errors
    /// Itself, when there is one.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The errors, sorted by path.
    pub fn iter(&self) -> std::slice::Iter<'_, FieldError> {
        self.0.iter()
    }

    fn add(&mut self, path: String, code: &str, message: String) {
        self.0.push(FieldError { path, code: code.to_owned(), message });
    }

    fn add_all(&mut self, parent: &str, broken: &ValidationErrors) {
        for (field, kind) in broken.errors() {
            // The rules of a whole struct are kept under this name.
            let path = match (parent, &**field) {
                (parent, "__all__") => parent.to_owned(),
                ("", field) => field.to_owned(),
                (parent, field) => format!("{parent}.{field}"),
            };
            match kind {
                ValidationErrorsKind::Field(errors) => {
                    for error in errors {
                        self.add(path.clone(), &error.code, message(error));
                    }
                }
                ValidationErrorsKind::List(items) => {
                    for (index, item) in items {
                        self.add_all(&format!("{path}[{index}]"), item);
                    }
                }
                ValidationErrorsKind::Struct(inner) => self.add_all(&path, inner),
            }
        }
    }
}

impl<'a> IntoIterator for &'a FieldErrors {
    type Item = &'a FieldError;
    type IntoIter = std::slice::Iter<'a, FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What the rule says of itself, or what its code and bounds tell.
fn message(error: &ValidationError) -> String {
    if let Some(message) = &error.message {
        return message.clone().into_owned();
    }
    let bound = |name: &str| error.params.get(name).map(ToString::to_string);
    let what = match &*error.code {
        "email" => return "is not an e-mail address".to_owned(),
        "length" => "must have a length",
        "range" => "must be",
        "url" => return "is not a URL".to_owned(),
        code => return format!("breaks the rule `{code}`"),
    };
    match (bound("equal"), bound("min"), bound("max")) {
        (Some(exact), ..) => format!("{what} of {exact}"),
        (None, Some(min), Some(max)) => format!("{what} from {min} to {max}"),
        (None, Some(min), None) => format!("{what} of {min} or more"),
        (None, None, Some(max)) => format!("{what} of {max} or less"),
        (None, None, None) => format!("breaks the rule `{}`", error.code),
    }
}

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, FieldError { path, message, .. }) in self.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            let colon = if path.is_empty() { "" } else { ": " };
            write!(f, "{separator}{path}{colon}{message}")?;
        }
        Ok(())
    }
}

impl Error for FieldErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Validate)]
    struct Item {
        #[validate(range(min = 1, max = 9))]
        pieces: u32,
    }

    #[derive(Validate)]
    struct Order {
        #[validate(length(min = 3))]
        user: String,
        #[validate(nested, length(max = 2))]
        items: Vec<Item>,
        #[validate(nested)]
        first: Item,
    }

    #[test]
    fn paths_lead_to_the_field() {
        let order = Order {
            user: "x".into(),
            items: vec![Item { pieces: 1 }, Item { pieces: 77 }],
            first: Item { pieces: 0 },
        };
        let errors = FieldErrors::of(&order).check(false, "total", "mismatch", "is another");
        let found: Vec<_> = errors.iter().map(|e| format!("{} {}", e.path, e.code)).collect();
        assert_eq!(
            found,
            ["first.pieces range", "items[1].pieces range", "total mismatch", "user length"]
        );
        assert_eq!(
            errors.to_string(),
            "first.pieces: must be from 1 to 9; items[1].pieces: must be from 1 to 9; total: is \
             another; user: must have a length of 3 or more"
        );
        let json = serde_json::to_value(&errors).unwrap();
        assert_eq!(
            json[2],
            serde_json::json!({
                "path": "total", "code": "mismatch", "message": "is another"
            })
        );
    }

    #[test]
    fn what_is_refused_is_not_repeated() {
        let order = Order { user: "s3".into(), items: vec![], first: Item { pieces: 4711 } };
        let errors = FieldErrors::of(&order);
        let told = format!("{errors} {errors:?} {}", serde_json::to_string(&errors).unwrap());
        assert!(!told.contains("s3") && !told.contains("4711"), "{told}");
    }

    #[test]
    fn without_errors_it_is_fine() {
        assert_eq!(FieldErrors::none().check(true, "a", "b", "c").into_result(), Ok(()));
    }
}
