//! Finds the paths that a source file names: `use` trees and qualified names, outside comments, strings and tests.

/// Every path with at least two parts, as its parts. `super` and `self` are resolved: paths into this crate start with
/// `crate`. A `use` tree gives one path per leaf. Test modules inside the file do not count.
pub fn named(file: &str, text: &str) -> Vec<Vec<String>> {
    let tokens = tokens(&production(text));
    let module = module_of(file);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let starts = is_name(&tokens[at]) && (at == 0 || tokens[at - 1] != "::" && tokens[at - 1] != ".");
        let qualified = tokens.get(at + 1).is_some_and(|next| next == "::");
        if starts && (qualified || at > 0 && tokens[at - 1] == "use") {
            at = tree(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found.into_iter().map(|path| resolved(path, &module)).collect()
}

/// Reads one path or `use` tree at `at` below `prefix`; returns where it ends.
fn tree(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    let before = at;
                    at = tree(tokens, at, &path, found);
                    while tokens.get(at).is_some_and(|token| token != "," && token != "}") {
                        at += 1;
                    }
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                    if at == before {
                        break;
                    }
                }
                return at + 1;
            }
            Some(name) if is_name(name) => path.push(name.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    found.push(path);
    at
}

fn resolved(path: Vec<String>, module: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut rest = path.as_slice();
    match rest.first().map(String::as_str) {
        Some("self") => rest = &rest[1..],
        Some("super") => {
            while let Some("super") = rest.first().map(String::as_str) {
                base.pop();
                rest = &rest[1..];
            }
        }
        _ => return path,
    }
    base.extend_from_slice(rest);
    base
}

fn module_of(file: &str) -> Vec<String> {
    let stem = file.trim_end_matches(".rs");
    let parts = stem.split('/').filter(|part| *part != "mod" && *part != "lib");
    std::iter::once("crate").chain(parts).map(str::to_owned).collect()
}

/// The text before the file's test module, without comments and literals.
fn production(text: &str) -> String {
    let bare = without_comments_and_literals(text);
    let tests = bare.match_indices("#[cfg(test)]").find(|(at, mark)| {
        let next = bare[at + mark.len()..].trim_start();
        next.starts_with("mod ")
            && next.split([';', '{']).next().is_some_and(|head| next[head.len()..].starts_with('{'))
    });
    tests.map_or(bare.as_str(), |(at, _)| &bare[..at]).to_owned()
}

fn without_comments_and_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut bare = String::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let end = match rest {
            ['/', '/', ..] => until(rest, |tail| tail[0] == '\n'),
            ['/', '*', ..] => until(rest, |tail| tail.starts_with(&['*', '/'])) + 2,
            ['r', '#', '"', ..] => until(rest, |tail| tail.starts_with(&['"', '#'])) + 2,
            ['"', ..] => string_end(rest),
            ['\'', '\\', ..] => 2 + until(&rest[2..], |tail| tail[0] == '\'') + 1,
            ['\'', _, '\'', ..] => 3,
            [other, ..] => {
                bare.push(*other);
                1
            }
            [] => break,
        };
        at += end;
    }
    bare
}

fn string_end(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn until(rest: &[char], ends: impl Fn(&[char]) -> bool) -> usize {
    (1..rest.len()).find(|at| ends(&rest[*at..])).unwrap_or(rest.len())
}

fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        if first.is_alphanumeric() || first == '_' {
            let mut name = String::from(first);
            while let Some(next) = chars.next_if(|next| next.is_alphanumeric() || *next == '_') {
                name.push(next);
            }
            tokens.push(name);
        } else if first == ':' && chars.next_if_eq(&':').is_some() {
            tokens.push("::".to_owned());
        } else if !first.is_whitespace() {
            tokens.push(first.to_string());
        }
    }
    tokens
}

fn is_name(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}
