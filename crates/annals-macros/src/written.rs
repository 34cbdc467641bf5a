//! Code as text, the same however it is laid out and commented.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The tokens with as little white space as keeps them apart, and without doc comments.
pub(crate) fn written(tokens: TokenStream) -> String {
    let mut text = String::new();
    write(tokens, &mut text);
    text
}

/// The tokens of a type with the last segment of each path, by which the type is known however it
/// was imported.
pub(crate) fn last_segments(tokens: TokenStream) -> TokenStream {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let is_path = |at: usize| {
        let sign = |at: usize| tokens.get(at).is_some_and(|token| is_sign(token, ':'));
        sign(at) && sign(at + 1)
    };
    let is_word = |at: usize| matches!(tokens.get(at), Some(TokenTree::Ident(_)));
    let mut kept = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        // What stands behind `>::` is no segment of a module.
        let is_front = kept.last().is_none_or(|last| !is_sign(last, '>'));
        if is_word(at) && is_path(at + 1) && is_word(at + 3) {
            at += 3;
        } else if is_front && !at.checked_sub(1).is_some_and(is_word) && is_path(at) {
            at += 2;
        } else {
            kept.push(match token {
                TokenTree::Group(group) => {
                    Group::new(group.delimiter(), last_segments(group.stream())).into()
                }
                other => other.clone(),
            });
            at += 1;
        }
    }
    kept.into_iter().collect()
}

fn write(tokens: TokenStream, text: &mut String) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        if is_sign(&token, '#') && tokens.next_if(is_doc).is_some() {
            continue;
        }
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => text.push(punct.as_char()),
            word => {
                let word = word.to_string();
                if text.ends_with(|last: char| last.is_alphanumeric() || "_\",".contains(last)) {
                    text.push(' ');
                }
                text.push_str(&word);
            }
        }
    }
}

/// Whether the token behind a `#` makes the two a doc comment.
fn is_doc(token: &TokenTree) -> bool {
    let TokenTree::Group(group) = token else { return false };
    let first = group.stream().into_iter().next();
    matches!(first, Some(TokenTree::Ident(ident)) if ident == "doc")
}

fn is_sign(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: &str) -> String {
        written(code.parse().unwrap())
    }

    #[test]
    fn layout_and_comments_do_not_matter() {
        let one = "/// Adds.\n #[inline] fn add( a:u8 ,b : Vec< Item > ) { a+1 /* one */ }";
        assert_eq!(of(one), "#[inline]fn add(a:u8, b:Vec<Item>){a+1}");
        assert_eq!(of(one), of("#[inline]\nfn add(a: u8, b: Vec<Item>) {\n  a + 1\n}"));
    }

    #[test]
    fn of_a_path_the_last_segment_is_left() {
        let of = |code: &str| written(last_segments(code.parse().unwrap()));
        assert_eq!(of("money::Money"), "Money");
        assert_eq!(
            of("::std::collections::BTreeMap<String, crate::money::Money>"),
            "BTreeMap<String, Money>"
        );
        assert_eq!(of("Vec::<(a::A, [b::c::C; 2])>"), "Vec::<(A,[C;2])>");
        assert_eq!(of("&'static a::A"), "&'static A");
        assert_eq!(of("<a::A as b::B>::Out"), "<A as B>::Out");
    }

    #[test]
    fn words_stay_apart() {
        assert_eq!(of("&'static str"), "&'static str");
        assert_ne!(of("match a b"), of("match ab"));
        assert_ne!(of("\"a\" \"b\""), of("\"a b\""));
    }
}
