//! Code as text, the same however it is laid out and commented.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The tokens with as little white space as keeps them apart, and without doc comments.
pub(crate) fn written(tokens: TokenStream) -> String {
    let mut text = String::new();
    write(tokens, &mut text);
    text
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
    fn words_stay_apart() {
        assert_eq!(of("&'static str"), "&'static str");
        assert_ne!(of("match a b"), of("match ab"));
        assert_ne!(of("\"a\" \"b\""), of("\"a b\""));
    }
}
