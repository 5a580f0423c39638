//! A Rust source as the compiler of numbers sees it: without comments, docs and tests.

use std::collections::BTreeSet;

use anyhow::anyhow;
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A source without what computes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stripped {
    /// Its tokens, one space apart.
    pub(crate) code: String,
    /// Every path in it that begins with `crate`, `super` or `headwater_...`.
    pub(crate) paths: BTreeSet<Vec<String>>,
    /// Modules in files of their own that are compiled for tests only.
    pub(crate) test_modules: Vec<String>,
}

/// Strips a source.
///
/// # Errors
/// When it is no Rust source.
pub(crate) fn strip(text: &str) -> anyhow::Result<Stripped> {
    let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{error}"))?;
    let mut stripped =
        Stripped { code: String::new(), paths: BTreeSet::new(), test_modules: Vec::new() };
    let kept = without_tests(tokens, &mut stripped.test_modules);
    gather_paths(&kept, &mut stripped.paths);
    // A stream prints its tokens in one way, whatever lines they stood on.
    stripped.code = kept.into_iter().collect::<TokenStream>().to_string();
    Ok(stripped)
}

/// The tokens without doc comments and without items under `#[cfg(test)]` or `#[test]`.
fn without_tests(tokens: TokenStream, test_modules: &mut Vec<String>) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let mut attribute = vec![token];
        if is_punct(&attribute[0], '#') {
            attribute.extend(tokens.next_if(|next| is_punct(next, '!')));
            attribute.extend(tokens.next_if(|next| is_group(next, Delimiter::Bracket)));
        }
        match attribute.last() {
            Some(TokenTree::Group(group)) if attribute.len() > 1 => {
                let words: String = group.stream().to_string().split_whitespace().collect();
                if words.starts_with("doc") {
                    continue;
                }
                if words == "cfg(test)" || words == "test" {
                    skip_item(&mut tokens, test_modules);
                    continue;
                }
                kept.extend(attribute);
            }
            Some(TokenTree::Group(group)) => {
                let inner = without_tests(group.stream(), test_modules);
                let inner = proc_macro2::Group::new(group.delimiter(), inner.into_iter().collect());
                kept.push(TokenTree::Group(inner));
            }
            _ => kept.extend(attribute),
        }
    }
    kept
}

/// Passes over an item: up to its block or its semicolon.
fn skip_item(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = TokenTree>>,
    test_modules: &mut Vec<String>,
) {
    let mut words = Vec::new();
    for token in tokens.by_ref() {
        if is_group(&token, Delimiter::Brace) {
            return;
        }
        if is_punct(&token, ';') {
            let at = words.iter().position(|word| word == "mod");
            test_modules.extend(at.and_then(|at| words.get(at + 1)).cloned());
            return;
        }
        words.push(token.to_string());
    }
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

fn is_group(token: &TokenTree, delimiter: Delimiter) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter)
}

/// Every path that leads out of a module, also those put together in braces.
fn gather_paths(tokens: &[TokenTree], paths: &mut BTreeSet<Vec<String>>) {
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(ident) => {
                let word = ident.to_string();
                let begins = word == "crate" || word == "super" || word.starts_with("headwater_");
                if begins {
                    at = follow(tokens, at, Vec::new(), paths);
                    continue;
                }
            }
            TokenTree::Group(group) => {
                gather_paths(&group.stream().into_iter().collect::<Vec<_>>(), paths);
            }
            _ => {}
        }
        at += 1;
    }
}

/// Follows one path from `at`; returns the position after it.
fn follow(
    tokens: &[TokenTree],
    mut at: usize,
    mut path: Vec<String>,
    paths: &mut BTreeSet<Vec<String>>,
) -> usize {
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => {
                path.push(ident.to_string());
                at += 1;
            }
            // What is imported of one place: each on its own.
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for part in inner.split(|token| is_punct(token, ',')) {
                    if !part.is_empty() {
                        follow(part, 0, path.clone(), paths);
                    }
                }
                return at + 1;
            }
            _ => {}
        }
        let end = |path: Vec<String>, paths: &mut BTreeSet<Vec<String>>| {
            // A bare `crate` or `super` stands in a visibility, or before a glob.
            if path.len() > 1 {
                paths.insert(path);
            }
        };
        let is_longer = |at: usize| tokens.get(at).is_some_and(|token| is_punct(token, ':'));
        if !(is_longer(at) && is_longer(at + 1)) {
            end(path, paths);
            return at;
        }
        at += 2;
        // A generic argument or a glob ends it.
        if !matches!(tokens.get(at), Some(TokenTree::Ident(_) | TokenTree::Group(_))) {
            end(path, paths);
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_docs_and_tests_go_and_code_stays() {
        let plain = "fn a() -> u32 { 1 } #[derive(Clone)] struct B;";
        let decorated = "//! About it.\n/// A docs.\nfn a() -> u32 {\n    // Why.\n    1 /* so */\n}\n\
                         #[derive(Clone)]\n#[doc = \"x\"]\nstruct B;\n#[cfg(test)]\nmod tests { \
                         #[test] fn b() {} }\n#[cfg(test)] mod golden;\n#[cfg(test)] use a::{b, c};";
        let stripped = strip(decorated).unwrap();
        let code = |text: &str| strip(text).unwrap().code;
        let without_end = |code: &str| code.trim_end_matches([';', ' ']).to_owned();
        assert_eq!(without_end(&stripped.code), without_end(&code(plain)));
        assert_eq!(stripped.test_modules, ["golden"]);
        assert_ne!(code("fn a() -> u32 { 2 }"), code("fn a() -> u32 { 1 }"));
        assert!(strip("fn a( {").is_err());
    }

    #[test]
    fn paths_are_followed_into_braces_and_bodies() {
        let text = "use crate::{tasks::{chains, lock::Lock}, schedule::rise}; use super::a::b;\n\
                    fn f() { crate::device::device(1); headwater_nn::sample::<T>(x) } use std::fmt;";
        let paths = strip(text).unwrap().paths;
        let paths: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
        assert_eq!(
            paths,
            [
                "crate::device::device",
                "crate::schedule::rise",
                "crate::tasks::chains",
                "crate::tasks::lock::Lock",
                "headwater_nn::sample",
                "super::a::b",
            ]
        );
    }
}
