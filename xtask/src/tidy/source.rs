//! One Rust file as the checks see it: tests cut off, comments and strings blanked where they would mislead.

use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

/// A Rust file, or as much of it as is no test.
pub(super) struct Source {
    /// Path from the root of the workspace.
    pub(super) path: String,
    /// Lines with comments blanked.
    uncommented: Vec<String>,
    /// Lines with comments and the insides of strings blanked.
    code: Vec<String>,
}

/// Where a function is, and how long.
pub(super) struct Function {
    /// Line of its first word, from 1.
    pub(super) line: usize,
    /// Lines from there to its last brace.
    pub(super) lines: usize,
}

impl Source {
    /// Reads a file's text. A file of tests counts as empty.
    pub(super) fn new(path: &Path, text: &str) -> Self {
        let path = path.to_string_lossy().into_owned();
        let is_test =
            path.contains("/tests/") || path.starts_with("e2e/src/") || path.ends_with("/testing.rs");
        let (uncommented, code) = if is_test {
            (String::new(), String::new())
        } else {
            blank(text)
        };
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let (mut uncommented, mut code) = (lines(&uncommented), lines(&code));
        // By custom the module of tests is the last thing in a file.
        let tests = code.iter().zip(code.iter().skip(1));
        let tests = tests
            .into_iter()
            .position(|(a, b)| a.trim() == "#[cfg(test)]" && b.trim() == "mod tests {");
        let end = tests.unwrap_or(code.len());
        uncommented.truncate(end);
        code.truncate(end);
        Self {
            path,
            uncommented,
            code,
        }
    }

    /// Number of lines.
    pub(super) fn lines(&self) -> usize {
        self.code.len()
    }

    /// Numbered lines with comments blanked.
    pub(super) fn without_comments(&self) -> impl Iterator<Item = (usize, &str)> {
        self.uncommented
            .iter()
            .enumerate()
            .map(|(i, line)| (i + 1, line.as_str()))
    }

    /// Numbered lines with comments and the insides of strings blanked.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .iter()
            .enumerate()
            .map(|(i, line)| (i + 1, line.as_str()))
    }

    /// All functions with a body.
    pub(super) fn functions(&self) -> Vec<Function> {
        let starts = self.code().filter(|(_, line)| is_function(line));
        starts
            .filter_map(|(line, _)| {
                Some(Function {
                    line,
                    lines: self.body(line)?,
                })
            })
            .collect()
    }

    /// Lines from `first` to the brace that closes the first one opened; `None` for a declaration.
    fn body(&self, first: usize) -> Option<usize> {
        let (mut depth, mut brackets) = (0_usize, 0_usize);
        for (number, line) in self.code().skip(first - 1) {
            for c in line.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth <= 1 => return Some(number - first + 1),
                    '}' => depth -= 1,
                    '[' => brackets += 1, // of an array's type: [u8; 4]
                    ']' => brackets = brackets.saturating_sub(1),
                    ';' if depth == 0 && brackets == 0 => return None,
                    _ => {}
                }
            }
        }
        None
    }
}

/// Whether a line begins a function.
fn is_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let qualifiers = ["pub", "const", "async", "unsafe", "extern"];
    let word = words.find(|word| !qualifiers.contains(word) && !word.starts_with("pub("));
    word == Some("fn")
}

/// The text without comments, and beside that without the insides of strings. Lines stay where they are.
fn blank(text: &str) -> (String, String) {
    let (mut uncommented, mut code) = (String::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        let mut inside = String::new();
        match c {
            '/' if next == '/' => skip_line(&mut chars, &mut inside),
            '/' if next == '*' => skip_block(&mut chars, &mut inside),
            '"' => string(&mut chars, &mut inside),
            'r' if (next == '"' || next == '#') && !before.is_alphanumeric() => {
                raw_string(&mut chars, &mut inside);
            }
            '\'' => character(&mut chars, &mut inside),
            _ => {}
        }
        let is_comment = c == '/' && !inside.is_empty();
        if is_comment {
            inside = blanked(&inside);
        } else {
            uncommented.push(c);
            code.push(c);
        }
        uncommented.push_str(&inside);
        code.push_str(&blanked(&inside));
        before = c;
    }
    (uncommented, code)
}

/// Only the line breaks of a text.
fn blanked(text: &str) -> String {
    text.chars().filter(|c| *c == '\n').collect()
}

fn skip_line(chars: &mut Peekable<Chars<'_>>, inside: &mut String) {
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        inside.push(c);
    }
}

fn skip_block(chars: &mut Peekable<Chars<'_>>, inside: &mut String) {
    let (mut depth, mut before) = (1, ' ');
    inside.extend(chars.next());
    for c in chars.by_ref() {
        inside.push(c);
        match (before, c) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return;
        }
        before = c;
    }
}

fn string(chars: &mut Peekable<Chars<'_>>, inside: &mut String) {
    while let Some(c) = chars.next() {
        inside.push(c);
        match c {
            '\\' => inside.extend(chars.next()),
            '"' => return,
            _ => {}
        }
    }
}

fn raw_string(chars: &mut Peekable<Chars<'_>>, inside: &mut String) {
    let mut hashes = String::new();
    while let Some(hash) = chars.next_if_eq(&'#') {
        hashes.push(hash);
    }
    inside.push_str(&hashes);
    let Some(quote) = chars.next_if_eq(&'"') else {
        return;
    }; // r#identifier
    inside.push(quote);
    let end = format!("\"{hashes}");
    let mut read = String::new();
    for c in chars.by_ref() {
        read.push(c);
        if read.ends_with(&end) {
            break;
        }
    }
    inside.push_str(&read);
}

/// A character literal; a lifetime is left as it is.
fn character(chars: &mut Peekable<Chars<'_>>, inside: &mut String) {
    let mut ahead = chars.clone();
    let length = match (ahead.next(), ahead.next()) {
        (Some('\\'), Some(_)) => 2 + ahead.by_ref().take_while(|c| *c != '\'').count(),
        (Some(_), Some('\'')) => 1,
        _ => return,
    };
    inside.extend(chars.by_ref().take(length + 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions(text: &str) -> Vec<(usize, usize)> {
        let source = Source::new(Path::new("src/a.rs"), text);
        source.functions().iter().map(|f| (f.line, f.lines)).collect()
    }

    #[test]
    fn braces_in_text_do_not_count() {
        let text =
            "fn a() {\n let s = \"}\"; // }\n let c = '}'; /* } */\n let r = r#\"}\"}\"#;\n}\nfn b();\n";
        assert_eq!(functions(text), [(1, 5)]);
        assert_eq!(
            functions("fn a<'a>(x: &'a str) -> char {\n '\\u{7d}'\n}\n"),
            [(1, 3)]
        );
    }

    #[test]
    fn nested_functions_count_by_themselves() {
        assert_eq!(
            functions("pub(crate) async fn a() {\n  fn b() {}\n}\n"),
            [(1, 3), (2, 1)]
        );
    }

    #[test]
    fn tests_are_cut_off() {
        let source = Source::new(Path::new("src/a.rs"), "fn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(source.lines(), 1);
        assert_eq!(
            Source::new(Path::new("crates/a/tests/b.rs"), "fn a() {}\n").lines(),
            0
        );
    }

    #[test]
    fn strings_are_seen_and_comments_are_not() {
        let source = Source::new(Path::new("src/a.rs"), "// key\nlet a = \"key\";\n");
        let seen: Vec<usize> = source
            .without_comments()
            .filter(|(_, t)| t.contains("key"))
            .map(|(n, _)| n)
            .collect();
        assert_eq!(seen, [2]);
    }
}
