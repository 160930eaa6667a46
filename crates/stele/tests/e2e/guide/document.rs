//! The blocks of a guide: files, commands and expected outputs.

use std::collections::BTreeSet;
use std::path::Path;

/// A fenced block: ```` ```LANGUAGE NAME ````.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) language: String,
    /// The name of a file; of commands; of the commands whose output `text` is; or `unrun-…`.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What a block is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// A file, which begins with its name.
    File,
    Commands,
    /// The output of the commands before it.
    Output,
    /// Commands that the test does not run.
    Unrun,
}

impl Block {
    pub(crate) fn kind(&self) -> BlockKind {
        match self.language.as_str() {
            "text" => BlockKind::Output,
            "sh" if self.name.starts_with("unrun-") => BlockKind::Unrun,
            "sh" if !self.name.contains('.') => BlockKind::Commands,
            _ => BlockKind::File,
        }
    }

    /// The block without comments, which are in the language of the document.
    pub(crate) fn without_comments(&self) -> (&str, &str, String) {
        let comment = match self.language.as_str() {
            "sql" => "--",
            "js" => "//",
            _ => "#",
        };
        let lines = self.text.lines().filter(|line| !line.trim_start().starts_with(comment));
        let code = lines.map(|line| line.split("    # ").next().unwrap().trim_end());
        (&self.language, &self.name, code.collect::<Vec<_>>().join("\n"))
    }
}

pub(crate) fn read_page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).unwrap()
}

/// Asserts that a page and its translation have the same files and commands, each with a name of its own, and that the
/// commands which the test does not run are those of `unrun`.
pub(crate) fn assert_same_blocks(page: &str, translation: &str, unrun: &[&str]) {
    let [page, translation] = [page, translation].map(|name| blocks_of(&read_page(name)));
    let code = |blocks: &[Block]| blocks.iter().map(|b| format!("{:?}", b.without_comments())).collect::<Vec<_>>();
    let (page_code, translation_code) = (code(&page), code(&translation));
    for (ours, theirs) in page_code.iter().zip(&translation_code) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(page_code.len(), translation_code.len());
    let names: Vec<_> = page.iter().filter(|b| b.kind() != BlockKind::Output).map(|b| b.name.as_str()).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a name occurs twice: {names:?}");
    let found: Vec<_> = page.iter().filter(|b| b.kind() == BlockKind::Unrun).map(|b| b.name.as_str()).collect();
    assert_eq!(found, unrun, "every block that is not run has a reason");
}

/// The blocks of a page, in its order.
pub(crate) fn blocks_of(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let (language, name) = info.split_once(' ').unwrap_or_else(|| panic!("```{info}: the block has no name"));
        let text: String = lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
        let block = Block { language: language.to_owned(), name: name.to_owned(), text };
        if block.kind() == BlockKind::File {
            let first = block.text.lines().next().unwrap_or_default();
            let named = first.trim_start_matches(['#', '-', '/', ' ']).starts_with(&block.name);
            assert!(named, "{name}: the block begins with {first:?}");
        }
        blocks.push(block);
    }
    blocks
}

/// Whether the text has the lines of the pattern, in which `…` stands for anything: within a line, or for any number of
/// whole lines.
pub(crate) fn matches_output(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<_>, Vec<_>) = (pattern.lines().collect(), text.lines().collect());
    matches_lines(&pattern, &text)
}

fn matches_lines(pattern: &[&str], text: &[&str]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ["…", rest @ ..] => (0..=text.len()).any(|skipped| matches_lines(rest, &text[skipped..])),
        [first, rest @ ..] => {
            text.first().is_some_and(|line| matches_line(first, line)) && matches_lines(rest, &text[1..])
        }
    }
}

fn matches_line(pattern: &str, line: &str) -> bool {
    match pattern.split_once('…') {
        None => pattern == line,
        Some((start, rest)) => line.strip_prefix(start).is_some_and(|line| {
            line.char_indices().map(|(n, _)| n).chain([line.len()]).any(|n| matches_line(rest, &line[n..]))
        }),
    }
}

#[test]
fn outputs_are_compared_by_lines_with_wildcards() {
    for (pattern, text, expected) in [
        ("a\nb\n", "a\nb\n", true),
        ("a\n", "a\nb\n", false),
        ("a\n…\n", "a\nb\nc\n", true),
        ("…\nc\n", "a\nb\nc\n", true),
        ("…\nb\n", "a\nb\nc\n", false),
        ("added 1 …\n", "added 1 same 0\n", true),
        ("added 2 …\n", "added 1 same 0\n", false),
        ("{\"id\":\"…\",\"x\":1}\n", "{\"id\":\"7\",\"x\":1}\n", true),
        ("{\"id\":\"…\",\"x\":1}\n", "{\"id\":\"7\",\"x\":2}\n", false),
    ] {
        assert_eq!(matches_output(pattern, text), expected, "{pattern:?} {text:?}");
    }
}
