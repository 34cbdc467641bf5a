//! `#[annals::fold]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Error, Item, ItemImpl, PathArguments, Result};

use crate::written::written;

const WHERE: &str = "`#[annals::fold]` stands above the `impl Apply<..> for ..` of an aggregate";

/// The item as it is, and behind it what it says, or what is wrong with it.
pub(crate) fn expand(arguments: &TokenStream, item: &TokenStream) -> TokenStream {
    let folded = parse(arguments, item);
    let folded = folded.map_or_else(Error::into_compile_error, |item| remember(&item));
    quote! { #item #folded }
}

fn parse(arguments: &TokenStream, item: &TokenStream) -> Result<ItemImpl> {
    if !arguments.is_empty() {
        let fault = "`#[annals::fold]` takes no arguments; the version of a fold stands with the \
                     aggregate, as `#[aggregate(snapshot(version = 2))]`";
        return Err(Error::new_spanned(arguments, fault));
    }
    let item = match syn::parse2(item.clone())? {
        Item::Impl(item) => item,
        other => return Err(Error::new_spanned(other, format!("{WHERE}; move it there"))),
    };
    let of = item.trait_.as_ref().and_then(|(path, _)| path.segments.last());
    match of {
        Some(last) if last.ident == "Apply" => Ok(item),
        _ => Err(Error::new_spanned(&item.self_ty, format!("{WHERE}; move it there"))),
    }
}

fn remember(item: &ItemImpl) -> TokenStream {
    let apply = written(item.to_token_stream());
    let last = item.trait_.as_ref().and_then(|(path, _)| path.segments.last());
    let event = last.map_or(&PathArguments::None, |last| &last.arguments);
    let (generics, _, bounds) = item.generics.split_for_impl();
    let state = &item.self_ty;
    quote! {
        #[automatically_derived]
        impl #generics ::annals::__private::Folded #event for #state #bounds {
            const APPLY: &'static str = #apply;
        }
    }
}
