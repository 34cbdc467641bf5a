//! `#[derive(Event)]`.
//!
//! The derive writes two hidden shadows of the enum for serde, so that the enum itself need not
//! derive anything: for encoding a *remote* enum, which serialises the user's value where it
//! is; for decoding one struct for each variant, so that the stored bytes are parsed straight
//! into the fields of the variant that the event's type names.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, Field, Fields, LitInt, LitStr, Result, Variant,
};

use crate::attribute::{
    Mistakes, check_bare, check_name, check_not_generic, check_not_reserved, read_pairs,
    serde_attrs, set_once,
};
use crate::described::{Describer, with_name};
use crate::written::written;

/// As `annals_core::EventType::BYTES_MAX`.
const TYPE_BYTES_MAX: usize = 256;
/// As `annals_core::Tag::BYTES_MAX`.
const TAG_BYTES_MAX: usize = 512;

/// The key under which an event is tagged with whom it is about.
const SUBJECT: &str = "subject";

const ENUM_KNOWS: &str = "`#[event(..)]` on the enum knows `upcasters = ..`; `name = \"..\"` and \
                          `version = ..` stand on variants, `tag = \"..\"` and `subject` on fields";
const VARIANT_KNOWS: &str = "`#[event(..)]` on a variant knows `name = \"..\"` and `version = ..`; \
                             `tag = \"..\"` and `subject` stand on a field";
const FIELD_KNOWS: &str = "`#[event(..)]` on a field knows `tag = \"..\"` and `subject`";

/// One type of event: a variant that was found to be right.
struct EventType<'a> {
    variant: &'a Variant,
    name: LitStr,
    schema_version: u32,
    tagged: Vec<TaggedField>,
}

/// A field whose value becomes a tag, under one key or several.
struct TaggedField {
    /// How a pattern names the field: its name, or `0`.
    member: syn::Member,
    /// Where to look when its type makes no tag.
    span: Span,
    keys: Vec<LitStr>,
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let (types, upcasters) = parse(input)?;
    let upcasters = upcasters.map(|upcasters| {
        let function = with_name(upcasters.to_token_stream(), &input.ident);
        let made = quote_spanned! {upcasters.span()=> ::annals::__private::upcasters(#function) };
        quote! {
            fn upcasters() -> &'static ::annals::Upcasters {
                static UPCASTERS: ::std::sync::LazyLock<::annals::Upcasters> =
                    ::std::sync::LazyLock::new(|| #made);
                &UPCASTERS
            }
        }
    });
    let name = &input.ident;
    let (encoder, encode) = encoding(name, &types);
    let (structs, decode) = decoding(&types);
    let (described, shapes) = shapes(name, &types);
    let variants = types.iter().map(|EventType { variant, name, .. }| {
        let variant = variant.ident.unraw().to_string();
        quote! { (#variant, #name) }
    });
    Ok(quote! {
        const _: () = {
            #encoder
            #structs
            #described

            #[automatically_derived]
            impl ::annals::Event for #name {
                const SHAPES: &'static [::annals::EventShape] = &[#shapes];

                const VARIANTS: &'static [(&'static str, &'static str)] = &[#(#variants),*];

                #upcasters

                fn encode(
                    &self,
                ) -> ::core::result::Result<::annals::NewEvent, ::annals::EncodeError> {
                    #encode
                }

                fn decode_current(
                    stored: &::annals::RecordedEvent,
                ) -> ::core::result::Result<Self, ::annals::DecodeError> {
                    #decode
                }
            }
        };
    })
}

fn parse(input: &DeriveInput) -> Result<(Vec<EventType<'_>>, Option<Expr>)> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new(
            input.ident.span(),
            "events are derived for an enum, one variant for each type of event: \
             `enum AccountEvent { AccountOpened { owner: String }, .. }`",
        ));
    };
    let mut mistakes = Mistakes::default();
    let not_generic = "events cannot be generic, because what is stored has one shape; remove the \
                       parameters";
    mistakes.note(check_not_generic(&input.generics, not_generic));
    let mut upcasters: Option<Expr> = None;
    mistakes.note(read_pairs(&input.attrs, "event", ENUM_KNOWS, |key, pair| {
        if key != "upcasters" {
            return Ok(false);
        }
        set_once(&mut upcasters, pair.value()?.parse()?, &pair)?;
        Ok(true)
    }));
    if let Some(attr) = serde_attrs(&input.attrs).next() {
        let fault = "serde's attributes have no effect on the enum of events; put them on its \
                     variants or fields";
        mistakes.add(Error::new_spanned(attr, fault));
    }
    if data.variants.is_empty() {
        let fault = "there is no event in this enum; add a variant for each type of event";
        mistakes.add(Error::new(input.ident.span(), fault));
    }
    let types: Vec<_> =
        data.variants.iter().filter_map(|variant| mistakes.note(parse_variant(variant))).collect();
    let mut names = HashSet::new();
    for event in types.iter().filter(|event| !names.insert(event.name.value())) {
        let fault = format!(
            "two events have the name {:?}, so that a stored one could be either; give this one \
             another name",
            event.name.value()
        );
        mistakes.add(Error::new(event.name.span(), fault));
    }
    mistakes.into_result()?;
    Ok((types, upcasters))
}

fn parse_variant(variant: &Variant) -> Result<EventType<'_>> {
    let mut mistakes = Mistakes::default();
    let mut name: Option<LitStr> = None;
    let mut version: Option<LitInt> = None;
    mistakes.note(read_pairs(&variant.attrs, "event", VARIANT_KNOWS, |key, pair| {
        match key {
            "name" => set_once(&mut name, pair.value()?.parse()?, &pair)?,
            "version" => set_once(&mut version, pair.value()?.parse()?, &pair)?,
            _ => return Ok(false),
        }
        Ok(true)
    }));
    let name = name.unwrap_or_else(|| {
        let ident = &variant.ident;
        LitStr::new(&ident.unraw().to_string(), ident.span())
    });
    mistakes.note(check_name(&name, "name of the event", TYPE_BYTES_MAX));
    mistakes.note(check_not_reserved(&name, "name of the event"));
    let schema_version = mistakes.note(version.map_or(Ok(1), |literal| parse_version(&literal)));
    mistakes.note(check_serde_on_variant(&variant.attrs));
    mistakes.note(check_fields(variant));
    let tagged = parse_tags(&variant.fields, &mut mistakes);
    mistakes.into_result()?;
    Ok(EventType {
        variant,
        name,
        schema_version: schema_version.expect("without a mistake there is a version"),
        tagged,
    })
}

fn parse_version(literal: &LitInt) -> Result<u32> {
    match literal.base10_parse() {
        Ok(version) if version > 0 => Ok(version),
        _ => Err(Error::new(
            literal.span(),
            "schema versions are counted from 1; write `version = 2` for the second shape",
        )),
    }
}

fn check_fields(variant: &Variant) -> Result<()> {
    match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() != 1 => {
            let name = &variant.ident;
            let fault = format!(
                "an event's data is a JSON object, so its fields need names; write `{name} {{ a: \
                 .., b: .. }}`, or hold a struct: `{name}({name}Data)`"
            );
            Err(Error::new(fields.span(), fault))
        }
        _ => Ok(()),
    }
}

/// Of serde's attributes for variants only `rename_all` has a meaning here.
fn check_serde_on_variant(attrs: &[Attribute]) -> Result<()> {
    for attr in serde_attrs(attrs) {
        attr.parse_nested_meta(|pair| {
            if pair.path.is_ident("rename_all") {
                return pair.value()?.parse::<LitStr>().map(drop);
            }
            Err(pair.error(
                "on an event only serde's `rename_all` has an effect; name the event itself with \
                 `#[event(name = \"..\")]`, and put the others on its fields",
            ))
        })?;
    }
    Ok(())
}

fn parse_tags(fields: &Fields, mistakes: &mut Mistakes) -> Vec<TaggedField> {
    let mut tagged = Vec::new();
    let mut subject = None;
    for (field, member) in fields.iter().zip(fields.members()) {
        let mut keys = Vec::new();
        mistakes.note(read_pairs(&field.attrs, "event", FIELD_KNOWS, |key, pair| {
            match key {
                "tag" => keys.push(parse_tag_key(&pair)?),
                SUBJECT => {
                    check_bare(&pair, "#[event(subject)]")?;
                    let instead = "an event is about one subject; tag this field with \
                                   `#[event(tag = \"..\")]`, or make two events of it";
                    if subject.replace(()).is_some() {
                        return Err(pair.error(instead));
                    }
                    keys.push(LitStr::new(SUBJECT, pair.path.span()));
                }
                _ => return Ok(false),
            }
            Ok(true)
        }));
        if !keys.is_empty() {
            tagged.push(TaggedField { member, span: field.ty.span(), keys });
        }
    }
    tagged
}

fn parse_tag_key(pair: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let key: LitStr = pair.value()?.parse()?;
    check_name(&key, "key of the tag", TAG_BYTES_MAX)?;
    check_not_reserved(&key, "key of the tag")?;
    if key.value().contains(':') {
        let fault = "the key of the tag contains `:`, which ends the key; leave it out";
        return Err(Error::new(key.span(), fault));
    }
    Ok(key)
}

/// The shadow that encodes, and the body of `encode`.
fn encoding(name: &Ident, types: &[EventType<'_>]) -> (TokenStream, TokenStream) {
    let remote = name.to_string();
    let variants = types.iter().map(|event| {
        let Variant { ident, fields, .. } = event.variant;
        let serde = serde_attrs(&event.variant.attrs);
        let fields = shadow_fields(fields);
        quote! { #(#serde)* #ident #fields }
    });
    let encoder = quote! {
        #[derive(::annals::__private::serde::Serialize)]
        #[serde(crate = "::annals::__private::serde", remote = #remote, untagged)]
        #[allow(dead_code, reason = "serde matches the enum of events with it, and makes none")]
        enum __Encoder { #(#variants),* }

        struct __Encoded<'a>(&'a #name);

        impl ::annals::__private::serde::Serialize for __Encoded<'_> {
            fn serialize<S: ::annals::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                __Encoder::serialize(self.0, serializer)
            }
        }
    };
    let arms = types.iter().map(encode_arm);
    (encoder, quote! { match self { #(#arms),* } })
}

fn encode_arm(event: &EventType<'_>) -> TokenStream {
    let EventType { variant: Variant { ident, fields, .. }, name, schema_version, tagged } = event;
    let members = tagged.iter().map(|field| &field.member);
    let values = tagged.iter().enumerate();
    let values: Vec<_> = values.map(|(n, _)| format_ident!("__tag{n}")).collect();
    let tags = tagged.iter().zip(&values).flat_map(|(field, value)| {
        let keys = field.keys.iter();
        keys.map(move |key| {
            let tag = quote_spanned! {field.span=>
                (&::annals::__private::TagField(#value)).value()
            };
            quote! { (#key, #tag) }
        })
    });
    let lookup = (!tagged.is_empty()).then(|| {
        quote! {
            #[allow(unused_imports, reason = "either of them is used")]
            use ::annals::__private::{TagOfOption as _, TagOfValue as _};
        }
    });
    let data = match fields {
        // Serde writes `null` for a variant without fields; data is always an object.
        Fields::Unit => quote! { &::annals::__private::NoFields {} },
        _ => quote! { &__Encoded(self) },
    };
    quote! {
        Self::#ident { #(#members: #values,)* .. } => {
            #lookup
            ::annals::__private::encode(#name, #schema_version, #data, &[#(#tags),*])
        }
    }
}

/// The shadows that decode, and the body of `decode`.
fn decoding(types: &[EventType<'_>]) -> (TokenStream, TokenStream) {
    let mut structs = TokenStream::new();
    let mut arms = TokenStream::new();
    for event in types {
        let EventType { name, schema_version, .. } = event;
        let Variant { ident: variant, fields, attrs, .. } = event.variant;
        let shadow = format_ident!("__Decoded{}", variant.unraw());
        let shadow_path = match fields {
            Fields::Unit => quote! { ::annals::__private::NoFields },
            _ => quote! { #shadow },
        };
        let members: Vec<_> = fields.members().collect();
        let values: Vec<_> = (0..members.len()).map(|n| format_ident!("__field{n}")).collect();
        arms.extend(quote! {
            #name => {
                let #shadow_path { #(#members: #values),* } =
                    ::annals::__private::decode(stored, #schema_version)?;
                ::core::result::Result::Ok(Self::#variant { #(#members: #values),* })
            }
        });
        let serde = serde_attrs(attrs);
        let semicolon = matches!(fields, Fields::Unnamed(_)).then(|| quote! { ; });
        let shadow_fields = shadow_fields(fields);
        if !matches!(fields, Fields::Unit) {
            structs.extend(quote! {
                #[derive(::annals::__private::serde::Deserialize)]
                #[serde(crate = "::annals::__private::serde")]
                #(#serde)*
                struct #shadow #shadow_fields #semicolon
            });
        }
    }
    let decode = quote! {
        match stored.event_type.as_str() {
            #arms
            _ => ::core::result::Result::Err(::annals::__private::unknown::<Self>(stored)),
        }
    };
    (structs, decode)
}

/// The shadows that are described, and the elements of `SHAPES`.
fn shapes(whole: &Ident, types: &[EventType<'_>]) -> (TokenStream, TokenStream) {
    let mut describer = Describer::new(whole);
    let mut shapes = TokenStream::new();
    for EventType { variant, name, schema_version, tagged } in types {
        let keys = tagged.iter().flat_map(|field| &field.keys);
        let shadow = format_ident!("__Described{}", variant.ident.unraw());
        let serde: Vec<_> = serde_attrs(&variant.attrs).collect();
        describer.describe(&shadow, &serde, &variant.fields);
        let fields = shadow_fields(&variant.fields);
        let written = written(quote! { #(#serde)* #fields });
        shapes.extend(quote! {
            ::annals::EventShape {
                name: #name,
                schema_version: #schema_version,
                schema: ::annals::__private::schema_of::<#shadow>,
                written: #written,
                tags: &[#(#keys),*],
            },
        });
    }
    (describer.into_tokens(), shapes)
}

/// The fields as the shadows have them: with serde's attributes and no others.
fn shadow_fields(fields: &Fields) -> TokenStream {
    let shadow = |Field { attrs, ident, ty, .. }: &Field| {
        let serde = serde_attrs(attrs);
        let colon = ident.is_some().then(|| quote! { : });
        quote! { #(#serde)* #ident #colon #ty }
    };
    let shadows = fields.iter().map(shadow);
    match fields {
        Fields::Named(_) => quote! { { #(#shadows),* } },
        Fields::Unnamed(_) => quote! { ( #(#shadows),* ) },
        Fields::Unit => TokenStream::new(),
    }
}
