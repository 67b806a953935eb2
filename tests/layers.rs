//! The core is pure: `decode`, `assemble`, `decide` and the engine reach for nothing outside.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The parts of this crate that talk to the world.
const OUTER: [&str; 8] = ["source", "forward", "config", "cli", "ops", "telemetry", "generate", "demo"];

/// Clocks, threads, locks, I/O and logs.
const WORLD: [&str; 15] = [
    "Instant",
    "SystemTime",
    "std::thread",
    "thread::",
    "std::fs",
    "std::net",
    "std::env",
    "Mutex",
    "RwLock",
    "Atomic",
    "println!",
    "tracing::",
    "metrics::",
    "tokio::",
    "rdkafka::",
];

#[test]
fn the_core_touches_nothing_outside() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for part in ["decode", "assemble", "decide", "engine.rs"] {
        let before = files.len();
        rust_files(&source.join(part), &mut files);
        assert!(files.len() > before, "src/{part} is gone; is the core elsewhere now?");
    }
    let mut wrong = Vec::new();
    for file in files {
        let text = code(&fs::read_to_string(&file).expect("a source file"));
        let imports = crate_imports(&text).into_iter().filter(|name| OUTER.contains(&name.as_str()));
        let words = WORLD.iter().filter(|word| text.contains(**word)).map(|word| (*word).to_owned());
        wrong.extend(imports.chain(words).map(|what| format!("{}: {what}", file.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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

/// Without comments, and without the unit tests, which end a file.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The first name of every path that starts at the crate, those in braces too.
fn crate_imports(text: &str) -> Vec<String> {
    let first = |path: &str| path.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
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

#[test]
fn imports_are_seen_in_every_form() {
    let text =
        "use crate::model::{A, B};\nuse crate::{\n    config::{C, D},\n    decode,\n};\nfn f(x: crate::ops::X) {}";
    assert_eq!(crate_imports(text), ["model", "config", "decode", "ops"]);
    assert_eq!(code("let a = 1; // Mutex\n#[cfg(test)]\nmod tests { use std::fs; }"), "let a = 1; ");
}
