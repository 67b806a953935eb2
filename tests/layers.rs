//! The core is pure: it reaches for nothing outside, neither of this crate nor of the world.

use std::{
    fs,
    path::{Path, PathBuf},
};

const CORE: [&str; 17] = [
    "decode",
    "assemble",
    "decide",
    "sample",
    "engine.rs",
    "engine",
    "encode",
    "tick.rs",
    "recall.rs",
    "decisions.rs",
    "decisions/schema.rs",
    "stats.rs",
    "model.rs",
    "limits.rs",
    "lines.rs",
    "rekey/split.rs",
    "rekey/partition.rs",
];

/// The modules of this crate, and of the standard library, that the core may use: policies are read from YAML, and all of
/// `std::io` but the standard streams is memory.
const CRATE: [&str; 17] = [
    "decode",
    "assemble",
    "decide",
    "sample",
    "engine",
    "encode",
    "tick",
    "recall",
    "decisions",
    "stats",
    "model",
    "mutant",
    "limits",
    "lines",
    "yaml",
    "units",
    "diagnostic",
];
const STD: [&str; 11] = ["borrow", "cmp", "collections", "fmt", "hash", "hint", "io", "iter", "mem", "ops", "sync"];

/// Clocks, locks, globals, output and logs, where a module does not tell.
const WORLD: [&str; 20] = [
    "Instant",
    "SystemTime",
    "Mutex",
    "RwLock",
    "Condvar",
    "Atomic",
    "OnceLock",
    "LazyLock",
    "thread_local!",
    "static mut",
    "stdin",
    "stdout",
    "stderr",
    "print!",
    "println!",
    "dbg!",
    "tracing::",
    "metrics::",
    "tokio::",
    "rdkafka::",
];

#[test]
fn the_core_touches_nothing_outside() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for part in CORE {
        let before = files.len();
        rust_files(&source.join(part), &mut files);
        assert!(files.len() > before, "src/{part} is gone; is the core elsewhere now?");
    }
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let text = fs::read_to_string(file).expect("a source file");
            outside(&text).into_iter().map(|what| format!("{}: {what}", file.display()))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_way_out_is_seen() {
    let imports = "use crate::model::{A, B};\nuse crate::{\n    worker::{C, D},\n    decode,\n    tick::{E, F},\n};";
    assert_eq!(modules(imports, "crate::"), ["model", "worker", "decode", "tick"]);
    let wrong = [
        "use crate::{\n    decode,\n    pipeline::{C, D},\n};",
        "fn f(x: crate::ops::X) {}",
        "use std::{collections::HashMap, fs, sync::Arc};",
        "use std::{io::{stdout, Write}};",
        "fn f() { std::thread::yield_now() }",
        "use std::{hash::Hash, sync::{Arc, OnceLock}};",
        "static mut COUNT: u64 = 0;",
        "fn f() { eprintln!(\"\") }",
        // The tests at the top of a file are not its end.
        "\n#[cfg(test)]\nmod tests;\n\nuse std::env;",
    ];
    for text in wrong {
        assert_eq!(outside(text).len(), 1, "{text}");
    }
    let right = "use std::{borrow::Cow, sync::Arc}; // a Mutex\n#[cfg(test)]\nmod tests { use std::fs; }";
    assert_eq!(outside(right), [""; 0]);
}

fn rust_files(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            rust_files(&entry.expect("an entry").path(), files);
        }
    } else if path.is_file() {
        files.push(path.to_owned());
    }
}

/// What a file uses and must not.
fn outside(text: &str) -> Vec<String> {
    let text = code(text);
    let strangers = |root: &str, friends: &[&str]| {
        let all = modules(&text, root).into_iter();
        all.filter(|name| !friends.contains(&name.as_str())).map(|name| format!("{root}{name}")).collect::<Vec<_>>()
    };
    let words = WORLD.iter().filter(|word| text.contains(**word)).map(|word| (*word).to_owned());
    strangers("crate::", &CRATE).into_iter().chain(strangers("std::", &STD)).chain(words).collect()
}

/// Without comments, and without the unit tests that end a file.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The first name of every path that starts at `root`, those in braces too.
fn modules(text: &str, root: &str) -> Vec<String> {
    let first = |path: &str| path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for (at, _) in text.match_indices(root) {
        let rest = &text[at + root.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.push(first(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    names.push(first(&list[start..at]));
                    start = at + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}
