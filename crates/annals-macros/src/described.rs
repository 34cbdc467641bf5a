//! What the fields of a variant or of a state look like as JSON: a hidden shadow of them, for
//! which schemars writes the schema.
//!
//! A field whose type does not implement `JsonSchema` must still compile. So the shadow names a
//! hidden type in place of the type of each field; that looks, where everything is known, whether
//! there is a schema, and gives an opaque one if not.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::punctuated::Punctuated;
use syn::{Attribute, Field, Fields, GenericArgument, Meta, PathArguments, Token, Type};

use crate::attribute::serde_attrs;
use crate::written::{last_segments, written};

/// Describes sets of fields, each in a shadow of its own.
pub(crate) struct Describer<'a> {
    /// What `Self` stands for in the types of the fields.
    whole: &'a Ident,
    hidden: TokenStream,
    leaves: usize,
}

impl<'a> Describer<'a> {
    pub(crate) fn new(whole: &'a Ident) -> Self {
        Self { whole, hidden: TokenStream::new(), leaves: 0 }
    }

    /// Describes fields in a shadow of this name; `serde` says how all of them are written.
    pub(crate) fn describe(&mut self, shadow: &Ident, serde: &[&Attribute], fields: &Fields) {
        let described = fields.iter().map(|field| self.field(field)).collect::<Vec<_>>();
        let body = match fields {
            Fields::Named(_) => quote! { { #(#described),* } },
            Fields::Unnamed(_) => quote! { ( #(#described),* ); },
            Fields::Unit => quote! { {} },
        };
        self.hidden.extend(quote! {
            #[derive(::annals::__private::schemars::JsonSchema)]
            #[schemars(crate = "::annals::__private::schemars")]
            #(#serde)*
            #[allow(dead_code, reason = "it is there to be described, and never made")]
            struct #shadow #body
        });
    }

    /// The shadows.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.hidden
    }

    fn field(&mut self, field: &Field) -> TokenStream {
        let Field { attrs, ident, ty, .. } = field;
        let serde = OfSerde::of(attrs);
        let described = match &serde.with {
            _ if serde.is_skipped => None,
            // Only that function knows what it writes.
            Some(with) => {
                let title = format!("{} with {with}", name_of(ty.to_token_stream()));
                Some(self.leaf(&quote! { ::annals::__private::written_with(#title) }))
            }
            None if serde.is_flat => Some(self.described(ty, Place::Flat)),
            None => Some(self.described(ty, Place::Own)),
        };
        let described = described.map(|described| {
            let described = described.to_string();
            quote! { #[schemars(with = #described)] }
        });
        let kept = serde.kept;
        let kept = (!kept.is_empty()).then(|| quote! { #[serde(#(#kept),*)] });
        let ty = with_name(ty.to_token_stream(), self.whole);
        let colon = ident.is_some().then(|| quote! { : });
        quote! { #kept #described #ident #colon #ty }
    }

    /// The type to describe in place of `ty`: lists and options stay what they are, whatever is
    /// in them.
    fn described(&mut self, ty: &Type, place: Place) -> TokenStream {
        match container(ty) {
            Some((Container::Option, inner)) => {
                let inner = self.described(inner, place.perhaps());
                quote! { ::core::option::Option<#inner> }
            }
            Some((Container::Vec, inner)) => {
                let inner = self.described(inner, Place::Own);
                quote! { ::std::vec::Vec<#inner> }
            }
            Some((Container::Box, inner)) => self.described(inner, place),
            None => {
                let ty = with_name(ty.to_token_stream(), self.whole);
                let title = name_of(ty.clone());
                let how = match place {
                    Place::Own => quote! { titled(#title) },
                    Place::Flat => quote! { flattened(#title, false) },
                    Place::FlatPerhaps => quote! { flattened(#title, true) },
                };
                self.leaf(&quote! {
                    #[allow(unused_imports, reason = "either of them is used")]
                    use ::annals::__private::{Described as _, Opaque as _};
                    (&::annals::__private::FieldType::<#ty>::#how).describe(generator)
                })
            }
        }
    }

    /// A hidden type with this description.
    fn leaf(&mut self, describe: &TokenStream) -> TokenStream {
        let leaf = format_ident!("__Field{}", self.leaves);
        self.leaves += 1;
        let name = leaf.to_string();
        self.hidden.extend(quote! {
            struct #leaf;

            impl ::annals::__private::schemars::JsonSchema for #leaf {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> ::std::borrow::Cow<'static, str> {
                    ::std::borrow::Cow::Borrowed(#name)
                }

                fn json_schema(
                    generator: &mut ::annals::__private::schemars::SchemaGenerator,
                ) -> ::annals::__private::schemars::Schema {
                    let _ = &generator;
                    #describe
                }
            }
        });
        leaf.into_token_stream()
    }
}

/// Where the fields of a type are.
#[derive(Clone, Copy)]
enum Place {
    Own,
    /// Flattened into those of the whole.
    Flat,
    /// The same, if they are there.
    FlatPerhaps,
}

impl Place {
    /// Of what stands in an option that is here.
    fn perhaps(self) -> Self {
        match self {
            Self::Own => Self::Own,
            Self::Flat | Self::FlatPerhaps => Self::FlatPerhaps,
        }
    }
}

/// By what name a type is known.
fn name_of(ty: TokenStream) -> String {
    written(last_segments(ty))
}

enum Container {
    Option,
    Vec,
    Box,
}

/// What a type is made of, as serde looks at it: by how it is written.
fn container(ty: &Type) -> Option<(Container, &Type)> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    let container = match last.ident.to_string().as_str() {
        "Option" => Container::Option,
        "Vec" => Container::Vec,
        "Box" => Container::Box,
        _ => return None,
    };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) if arguments.args.len() == 1 => Some((container, inner)),
        _ => None,
    }
}

/// What serde's attributes of a field say about its schema.
#[derive(Default)]
struct OfSerde {
    /// Those from which schemars makes something true.
    kept: Vec<TokenStream>,
    /// The functions that write and read it instead of its type.
    with: Option<String>,
    has_default: bool,
    is_flat: bool,
    is_skipped: bool,
}

impl OfSerde {
    fn of(attrs: &[Attribute]) -> Self {
        let mut said = Self::default();
        for attr in serde_attrs(attrs) {
            // What is wrong with them is serde's to say.
            let metas = attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
            metas.into_iter().flatten().for_each(|meta| said.add(&meta));
        }
        said
    }

    fn add(&mut self, meta: &Meta) {
        let key = meta.path().get_ident().map_or_else(String::new, ToString::to_string);
        match key.as_str() {
            "with" | "serialize_with" | "deserialize_with" => {
                if let Meta::NameValue(pair) = meta {
                    let function = written(pair.value.to_token_stream()).replace('"', "");
                    let before = self.with.take().map(|before| format!("{before} and "));
                    self.with = Some(before.unwrap_or_default() + &function);
                }
                return;
            }
            // What is not written is no part of what is written. What is not read has a default.
            "skip" | "skip_serializing" => {
                self.is_skipped = true;
                self.kept.push(quote! { skip });
                return;
            }
            "skip_deserializing" if self.has_default => return,
            "skip_deserializing" => {
                self.has_default = true;
                self.kept.push(quote! { default });
                return;
            }
            "default" if self.has_default => return,
            "default" => self.has_default = true,
            "flatten" => self.is_flat = true,
            _ => {}
        }
        self.kept.push(meta.to_token_stream());
    }
}

/// The tokens with the name in place of `Self`, which means something else in an item of its own.
pub(crate) fn with_name(tokens: TokenStream, name: &Ident) -> TokenStream {
    let named = |token| match token {
        TokenTree::Ident(ident) if ident == "Self" => name.clone().into(),
        TokenTree::Group(group) => {
            let mut named = Group::new(group.delimiter(), with_name(group.stream(), name));
            named.set_span(group.span());
            named.into()
        }
        token => token,
    };
    tokens.into_iter().map(named).collect()
}
