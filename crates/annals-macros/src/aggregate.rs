//! `#[derive(Aggregate)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, LitStr, Result, Type};

use crate::attribute::{Mistakes, check_name, check_not_generic, read_pairs, set_once};

/// As `annals_core::Category::BYTES_MAX`.
const CATEGORY_BYTES_MAX: usize = 512;

const KNOWS: &str = "`#[aggregate(..)]` knows `category = \"..\"` and `event = ..`";

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let mut mistakes = Mistakes::default();
    let not_generic = "an aggregate cannot be generic, because its streams hold one kind of event; \
                       remove the parameters";
    mistakes.note(check_not_generic(&input.generics, not_generic));

    let mut category: Option<LitStr> = None;
    let mut event: Option<Type> = None;
    mistakes.note(read_pairs(&input.attrs, "aggregate", KNOWS, |key, pair| {
        match key {
            "category" => set_once(&mut category, pair.value()?.parse()?, &pair)?,
            "event" => set_once(&mut event, pair.value()?.parse()?, &pair)?,
            _ => return Ok(false),
        }
        Ok(true)
    }));
    mistakes.into_result()?;

    let mut mistakes = Mistakes::default();
    if let Some(category) = &category {
        mistakes.note(check_category(category));
    }
    let name = &input.ident;
    let (Some(category), Some(event)) = (category, event) else {
        return Err(Error::new(
            name.span(),
            format!(
                "`{name}` needs a category for its streams and the type of its events; write \
                 `#[aggregate(category = \"{}\", event = {name}Event)]` above it",
                name.to_string().to_lowercase(),
            ),
        ));
    };
    mistakes.into_result()?;

    Ok(quote! {
        #[automatically_derived]
        impl ::annals::Aggregate for #name {
            type Event = #event;
            type Id = ::annals::AnyId;
            const CATEGORY: &'static str = #category;
        }
    })
}

fn check_category(category: &LitStr) -> Result<()> {
    check_name(category, "category", CATEGORY_BYTES_MAX)?;
    if category.value().contains('-') {
        let fault = "the category contains `-`, which ends a category; use `_`, or nothing";
        return Err(Error::new(category.span(), fault));
    }
    Ok(())
}
