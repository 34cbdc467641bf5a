//! `#[derive(DecisionModel)]`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Data, DataStruct, DeriveInput, Error, Fields, Ident, LitStr, Member, Path, Result, Token, Type,
    parenthesized,
};

use crate::attribute::{Mistakes, check_name, check_not_generic, read_pairs, set_once};

/// As `annals_core::EventType::BYTES_MAX`.
const TYPE_BYTES_MAX: usize = 256;
/// As `annals_core::Tag::BYTES_MAX`.
const TAG_BYTES_MAX: usize = 512;

const STRUCT_KNOWS: &str = "`#[model(..)]` on a model knows `event = ..` and `types(..)`; `tag = \
                            \"..\"` stands on a field";
const FIELD_KNOWS: &str = "`#[model(..)]` on a field knows `tag = \"..\"`";

/// A model that was found to be right, as far as can be seen from here.
struct Model<'a> {
    event: Path,
    types: Vec<TypeName>,
    fields: Vec<Field<'a>>,
}

/// A type of event, by the name of its variant or by the name under which it is stored.
enum TypeName {
    Variant(Ident),
    Stored(LitStr),
}

struct Field<'a> {
    member: Member,
    ty: &'a Type,
    /// The key of the tag whose value it holds.
    key: Option<LitStr>,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let model = parse(input)?;
    let name = &input.ident;
    let event = &model.event;
    let types = model.types.iter().map(TypeName::stored);
    let tags = model.fields.iter().filter_map(|Field { member, key, .. }| {
        let key = key.as_ref()?;
        Some(quote! { (#key, &self.#member) })
    });
    let checks = checks(name, &model);
    let constructor = constructor(input, &model);
    Ok(quote! {
        #checks
        #constructor

        #[automatically_derived]
        impl ::annals::DecisionModel for #name {
            type Event = #event;

            fn query(&self) -> ::core::result::Result<::annals::Query, ::annals::InvalidName> {
                ::annals::__private::query::<#event>(&[#(#types),*], &[#(#tags),*])
            }
        }
    })
}

fn parse(input: &DeriveInput) -> Result<Model<'_>> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(
            input.ident.span(),
            "a decision model is a struct: what must be known to decide, and the tags by which \
             its events are found",
        ));
    };
    let mut mistakes = Mistakes::default();
    let not_generic = "a decision model cannot be generic, because its query names one kind of \
                       events; remove the parameters";
    mistakes.note(check_not_generic(&input.generics, not_generic));
    let (mut event, mut types) = (None::<Path>, None::<Vec<TypeName>>);
    let attributes = read_pairs(&input.attrs, "model", STRUCT_KNOWS, |key, pair| {
        match key {
            "event" => set_once(&mut event, pair.value()?.parse()?, &pair)?,
            "types" => set_once(&mut types, parse_types(&pair)?, &pair)?,
            _ => return Ok(false),
        }
        Ok(true)
    });
    let mut understood = mistakes.note(attributes).is_some();
    let fields = mistakes.note(parse_fields(data));
    understood &= fields.is_some();
    let fields = fields.unwrap_or_default();
    if understood && event.is_none() {
        mistakes.add(without_event(input));
    }
    let tagged = fields.iter().any(|field| field.key.is_some());
    if understood && event.is_some() && types.is_none() && !tagged {
        mistakes.add(of_everything(input));
    }
    mistakes.into_result()?;
    let event = event.expect("a missing event is a mistake");
    Ok(Model { event, types: types.unwrap_or_default(), fields })
}

fn without_event(input: &DeriveInput) -> Error {
    let fault = format!(
        "`{}` needs the type of its events; write `#[model(event = .., types(..))]` above it, \
         with the enum and the variants that it is folded from",
        input.ident
    );
    Error::new(input.ident.span(), fault)
}

fn of_everything(input: &DeriveInput) -> Error {
    let fault = format!(
        "`{}` would be folded from every event of the enum, whatever it is about, so that every \
         one would be a reason to decide again; mark a field with `#[model(tag = \"..\")]`, or \
         name the variants with `types(..)`",
        input.ident
    );
    Error::new(input.ident.span(), fault)
}

fn parse_types(pair: &ParseNestedMeta<'_>) -> Result<Vec<TypeName>> {
    let how = "name variants of the enum of events: `types(CourseDefined, StudentSubscribed)`";
    if !pair.input.peek(syn::token::Paren) {
        return Err(pair.error(how));
    }
    let list;
    parenthesized!(list in pair.input);
    let types: Vec<_> =
        Punctuated::<TypeName, Token![,]>::parse_terminated(&list)?.into_iter().collect();
    if types.is_empty() {
        let fault = format!("{how}; for all of them leave `types` out");
        return Err(pair.error(fault));
    }
    for (n, name) in types.iter().enumerate() {
        let text = name.stored();
        if types[..n].iter().any(|other| other.stored().value() == text.value()) {
            return Err(Error::new(name.span(), "named twice; keep one"));
        }
    }
    Ok(types)
}

impl Parse for TypeName {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let next = input.lookahead1();
        if next.peek(LitStr) {
            let name: LitStr = input.parse()?;
            check_name(&name, "name of the event", TYPE_BYTES_MAX)?;
            return Ok(Self::Stored(name));
        }
        if next.peek(Ident) { input.parse().map(Self::Variant) } else { Err(next.error()) }
    }
}

impl TypeName {
    /// The name under which the type is stored.
    fn stored(&self) -> LitStr {
        match self {
            Self::Variant(variant) => LitStr::new(&variant.unraw().to_string(), variant.span()),
            Self::Stored(name) => name.clone(),
        }
    }

    fn span(&self) -> Span {
        match self {
            Self::Variant(variant) => variant.span(),
            Self::Stored(name) => name.span(),
        }
    }
}

fn parse_fields(data: &DataStruct) -> Result<Vec<Field<'_>>> {
    let (mut fields, mut mistakes) = (Vec::new(), Mistakes::default());
    for (field, member) in data.fields.iter().zip(data.fields.members()) {
        let mut key = None;
        mistakes.note(read_pairs(&field.attrs, "model", FIELD_KNOWS, |name, pair| {
            if name != "tag" {
                return Ok(false);
            }
            set_once(&mut key, parse_tag_key(&pair)?, &pair)?;
            Ok(true)
        }));
        fields.push(Field { member, ty: &field.ty, key });
    }
    mistakes.into_result().map(|()| fields)
}

fn parse_tag_key(pair: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let key: LitStr = pair.value()?.parse()?;
    check_name(&key, "key of the tag", TAG_BYTES_MAX)?;
    if key.value().contains(':') {
        let fault = "the key of the tag contains `:`, which ends the key; leave it out";
        return Err(Error::new(key.span(), fault));
    }
    Ok(key)
}

/// What only the compiler can see: that the types named are types of the events, and that there
/// are events with the tags.
fn checks(name: &Ident, model: &Model<'_>) -> TokenStream {
    let event = &model.event;
    let shown = quote!(#event).to_string().replace(' ', "");
    // For a variant that is not there, the compiler knows the one that was meant.
    let variants = model.types.iter().filter_map(|name| match name {
        TypeName::Variant(variant) => Some(quote_spanned! { variant.span() =>
            if let #event::#variant { .. } = event {}
        }),
        TypeName::Stored(_) => None,
    });
    let stored = model.types.iter().map(|name| {
        let text = name.stored();
        let fault = format!(
            "no event of `{shown}` is stored as {:?}; name a variant, or, if it has \
             `#[event(name = \"..\")]`, that name in quotes: `types(\"..\")`",
            text.value()
        );
        quote_spanned! { name.span() =>
            const _: () = ::core::assert!(
                ::annals::__private::is_stored_as(
                    <#event as ::annals::Event>::SHAPES,
                    #text,
                ),
                #fault
            );
        }
    });
    let tagged = tagged(name, model);
    quote! {
        const _: () = {
            #[allow(
                dead_code,
                irrefutable_let_patterns,
                unused_qualifications,
                reason = "it is there to be compiled, whatever the enum and what is imported"
            )]
            fn variants(event: &#event) {
                #(#variants)*
            }
            #(#stored)*
            #tagged
        };
    }
}

/// That one of the types has each tag at least. A type that has it not may be an old one.
fn tagged(name: &Ident, model: &Model<'_>) -> TokenStream {
    let event = &model.event;
    let types: Vec<_> = model.types.iter().map(TypeName::stored).collect();
    let keys = model.fields.iter().filter_map(|field| field.key.as_ref());
    let checks = keys.map(|key| {
        let text = key.value();
        let fault = format!(
            "no event that `{name}` is folded from is tagged with {text:?}, so that it would find \
             none; mend the key, or write `#[event(tag = {text:?})]` above a field of theirs"
        );
        quote_spanned! { key.span() =>
            const _: () = ::core::assert!(
                ::annals::__private::is_tagged(
                    <#event as ::annals::Event>::SHAPES,
                    &[#(#types),*],
                    #key,
                ),
                #fault
            );
        }
    });
    checks.collect()
}

/// `of(..)`: with these values of the tags, before any event.
fn constructor(input: &DeriveInput, model: &Model<'_>) -> TokenStream {
    let (name, vis) = (&input.ident, &input.vis);
    let mut parameters = Vec::new();
    let values = model.fields.iter().map(|Field { member, ty, key }| {
        let Some(_) = key else {
            return quote_spanned! { ty.span() =>
                #member: <#ty as ::core::default::Default>::default()
            };
        };
        let parameter = match member {
            Member::Named(name) => name.clone(),
            Member::Unnamed(index) => format_ident!("tag{}", index.index),
        };
        if is_text(ty) {
            parameters.push(quote! { #parameter: impl ::core::convert::Into<#ty> });
            quote! { #member: #parameter.into() }
        } else {
            parameters.push(quote! { #parameter: #ty });
            quote! { #member: #parameter }
        }
    });
    let values: Vec<_> = values.collect();
    let new = match input_fields(input) {
        Fields::Unit => quote! { Self },
        _ => quote! { Self { #(#values),* } },
    };
    quote! {
        #[automatically_derived]
        impl #name {
            /// The model with these tags, before any event.
            #[must_use]
            #[allow(dead_code, reason = "a model may also be made by hand")]
            #vis fn of(#(#parameters),*) -> Self {
                #new
            }
        }
    }
}

fn input_fields(input: &DeriveInput) -> &Fields {
    match &input.data {
        Data::Struct(data) => &data.fields,
        _ => &Fields::Unit,
    }
}

/// Whether it is a `String`, which is nicer to give as anything that becomes one.
fn is_text(ty: &Type) -> bool {
    let Type::Path(path) = ty else { return false };
    path.qself.is_none() && path.path.segments.last().is_some_and(|last| last.ident == "String")
}
