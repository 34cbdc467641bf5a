//! What both derives do with attributes: read `key = value` pairs, and check the names in them.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, Generics, LitStr, Result};

/// The mistakes found so far, to be reported together.
#[derive(Default)]
pub(crate) struct Mistakes(Option<Error>);

impl Mistakes {
    pub(crate) fn add(&mut self, mistake: Error) {
        match &mut self.0 {
            Some(error) => error.combine(mistake),
            None => self.0 = Some(mistake),
        }
    }

    /// The value, or the mistake noted.
    pub(crate) fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|mistake| self.add(mistake)).ok()
    }

    pub(crate) fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Reads the pairs of every attribute `#[name(key = value, …)]`.
///
/// `read` takes one pair and returns whether it knows the key; `knows` lists the keys for the
/// message about one it does not know.
pub(crate) fn read_pairs(
    attrs: &[Attribute],
    name: &str,
    knows: &str,
    mut read: impl FnMut(&str, ParseNestedMeta<'_>) -> Result<bool>,
) -> Result<()> {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident(name)) {
        attr.parse_nested_meta(|pair| {
            let key = pair.path.get_ident().map_or_else(String::new, ToString::to_string);
            let unknown = pair.error(format!("`{key}` is not known here; {knows}"));
            if read(&key, pair)? { Ok(()) } else { Err(unknown) }
        })?;
    }
    Ok(())
}

/// Sets `slot` to the value of a pair that must not be given twice.
pub(crate) fn set_once<T>(
    slot: &mut Option<T>,
    value: T,
    pair: &ParseNestedMeta<'_>,
) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(pair.error("given twice; keep one"));
    }
    Ok(())
}

/// Serde's attributes among others.
pub(crate) fn serde_attrs(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("serde"))
}

/// Refuses a value of a key that is a word by itself.
pub(crate) fn check_bare(pair: &ParseNestedMeta<'_>, instead: &str) -> Result<()> {
    if pair.input.is_empty() || pair.input.peek(syn::Token![,]) {
        return Ok(());
    }
    Err(pair.error(format!("takes no value; write `{instead}`")))
}

/// Checks a text against the rules that all names of `annals-core` share, so that a bad one
/// fails here and not in the running program.
pub(crate) fn check_name(name: &LitStr, what: &str, bytes_max: usize) -> Result<()> {
    let text = name.value();
    let fault = if text.is_empty() {
        "is empty; give it at least one character".to_owned()
    } else if text.len() > bytes_max {
        format!("has {} bytes; at most {bytes_max} are allowed", text.len())
    } else if text.chars().any(char::is_control) {
        "contains a control character; remove it".to_owned()
    } else if text.trim().len() != text.len() {
        "starts or ends with white space; trim it".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::new(name.span(), format!("the {what} {fault}")))
}

/// Refuses a name that only the framework gives.
pub(crate) fn check_not_reserved(name: &LitStr, what: &str) -> Result<()> {
    if name.value().starts_with("annals.") {
        let fault = format!("the {what} starts with `annals.`, which is reserved; choose another");
        return Err(Error::new(name.span(), fault));
    }
    Ok(())
}

/// Refuses type parameters, for `reason`.
pub(crate) fn check_not_generic(generics: &Generics, reason: &str) -> Result<()> {
    if generics.params.is_empty() {
        return Ok(());
    }
    Err(Error::new_spanned(generics, reason))
}
