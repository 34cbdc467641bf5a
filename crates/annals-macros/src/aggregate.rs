//! `#[derive(Aggregate)]`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, LitInt, LitStr, Result, Type};

use crate::attribute::{Mistakes, check_bare, check_name, check_not_generic, read_pairs, set_once};
use crate::described::Describer;
use crate::written::written;

/// As `annals_core::Category::BYTES_MAX`.
const CATEGORY_BYTES_MAX: usize = 512;

const KNOWS: &str = "`#[aggregate(..)]` knows `category = \"..\"`, `event = ..`, `id = ..`, \
                     `unknown = skip`, `snapshot` and `cache`";

/// What the attribute says.
#[derive(Default)]
struct Said {
    category: Option<LitStr>,
    event: Option<Type>,
    id: Option<Type>,
    unknown: Option<Ident>,
    snapshot: Option<Snapshot>,
    cache: Option<Span>,
}

struct Snapshot {
    span: Span,
    version: u32,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let Said { category, event, id, unknown, snapshot, cache } = parse(input)?;
    let id = id.map_or_else(|| quote! { ::annals::AnyId }, ToTokens::into_token_stream);
    let unknown = unknown.map(|unknown| {
        quote! { const UNKNOWN: ::annals::UnknownTypes = ::annals::UnknownTypes::#unknown; }
    });
    let (described, snapshot) = snapshot.map(|snapshot| snapshotting(input, &snapshot)).unzip();
    let cache = cache.map(|span| {
        let clone = quote_spanned! {span=> <Self as ::core::clone::Clone>::clone };
        quote! {
            const CACHE: ::core::option::Option<fn(&Self) -> Self> =
                ::core::option::Option::Some(#clone);
        }
    });
    Ok(quote! {
        const _: () = {
            #described

            #[automatically_derived]
            impl ::annals::Aggregate for #name {
                type Event = #event;
                type Id = #id;
                const CATEGORY: &'static str = #category;
                #unknown
                #snapshot
                #cache
            }
        };
    })
}

/// What the attribute says, with a category and a type of events.
fn parse(input: &DeriveInput) -> Result<Said> {
    let mut mistakes = Mistakes::default();
    let not_generic = "an aggregate cannot be generic, because its streams hold one kind of event; \
                       remove the parameters";
    mistakes.note(check_not_generic(&input.generics, not_generic));

    let mut said = Said::default();
    mistakes.note(read_pairs(&input.attrs, "aggregate", KNOWS, |key, pair| {
        match key {
            "category" => set_once(&mut said.category, pair.value()?.parse()?, &pair)?,
            "event" => set_once(&mut said.event, pair.value()?.parse()?, &pair)?,
            "id" => set_once(&mut said.id, pair.value()?.parse()?, &pair)?,
            "unknown" => set_once(&mut said.unknown, parse_unknown(&pair)?, &pair)?,
            "snapshot" => set_once(&mut said.snapshot, parse_snapshot(&pair)?, &pair)?,
            "cache" => {
                check_bare(&pair, "cache")?;
                set_once(&mut said.cache, pair.path.span(), &pair)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }));
    mistakes.into_result()?;

    if let Some(category) = &said.category {
        check_category(category)?;
    }
    if said.category.is_none() || said.event.is_none() {
        let name = &input.ident;
        return Err(Error::new(
            name.span(),
            format!(
                "`{name}` needs a category for its streams and the type of its events; write \
                 `#[aggregate(category = \"{}\", event = {name}Event)]` above it",
                name.to_string().to_lowercase(),
            ),
        ));
    }
    Ok(said)
}

fn check_category(category: &LitStr) -> Result<()> {
    check_name(category, "category", CATEGORY_BYTES_MAX)?;
    if category.value().contains('-') {
        let fault = "the category contains `-`, which ends a category; use `_`, or nothing";
        return Err(Error::new(category.span(), fault));
    }
    Ok(())
}

/// The variant of `annals::UnknownTypes`.
fn parse_unknown(pair: &ParseNestedMeta<'_>) -> Result<Ident> {
    let value: TokenStream = pair.value()?.parse::<syn::Expr>()?.into_token_stream();
    match value.to_string().as_str() {
        "fail" => Ok(format_ident!("Fail", span = value.span())),
        "skip" => Ok(format_ident!("Skip", span = value.span())),
        _ => Err(Error::new_spanned(
            &value,
            "write `unknown = skip` to pass over stored events of unknown types, or \
             `unknown = fail`, which is what happens when it is left out",
        )),
    }
}

fn parse_snapshot(pair: &ParseNestedMeta<'_>) -> Result<Snapshot> {
    let mut version: Option<LitInt> = None;
    if pair.input.peek(syn::token::Paren) {
        pair.parse_nested_meta(|inner| {
            if !inner.path.is_ident("version") {
                return Err(
                    inner.error("only a version is known here; write `snapshot(version = 2)`")
                );
            }
            set_once(&mut version, inner.value()?.parse()?, &inner)
        })?;
    } else {
        check_bare(pair, "snapshot` or `snapshot(version = 2)")?;
    }
    let version = version.map_or(Ok(1), |version| version.base10_parse())?;
    Ok(Snapshot { span: pair.path.span(), version })
}

/// The shadows of the state's fields, and the constant that says how it is kept.
fn snapshotting(input: &DeriveInput, snapshot: &Snapshot) -> (TokenStream, TokenStream) {
    let name = &input.ident;
    let (fields, sets) = match &input.data {
        Data::Struct(data) => (data.fields.to_token_stream(), vec![&data.fields]),
        Data::Enum(data) => {
            (data.variants.to_token_stream(), data.variants.iter().map(|v| &v.fields).collect())
        }
        Data::Union(data) => (data.fields.to_token_stream(), vec![]),
    };
    let mut describer = Describer::new(name);
    let shadows = describe(&mut describer, &sets);
    let attributes = input.attrs.iter().filter(|attr| attr.path().is_ident("serde"));
    let state = written(quote! { #(#attributes)* #fields });
    let Snapshot { span, version } = *snapshot;
    // Whatever is missing for it is told where it was asked for.
    let asked = quote_spanned! {span=>
        ::core::option::Option::Some(::annals::__private::snapshotting::<#name>(|| {
            ::annals::__private::fold_of::<#name>(&::annals::__private::StateShape {
                written: #state,
                described: &[#(::annals::__private::schema_of::<#shadows>),*],
                version: #version,
            })
        }))
    };
    let constant = quote! {
        const SNAPSHOT: ::core::option::Option<::annals::Snapshotting<Self>> = #asked;
    };
    (describer.into_tokens(), constant)
}

fn describe(describer: &mut Describer<'_>, sets: &[&Fields]) -> Vec<Ident> {
    let named = |(n, fields): (usize, &&Fields)| {
        let shadow = format_ident!("__State{n}");
        describer.describe(&shadow, &[], fields);
        shadow
    };
    sets.iter().enumerate().map(named).collect()
}
