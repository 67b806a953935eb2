//! What the manual shows is what happens: its commands run as they are written, against its files.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::trace::v1::Span;
use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{
    kafka::{Topic, kafka},
    leash::Leash,
    spans::{EPOCH, failed, keyed, span, trace},
    wait::wait_until,
    witness,
};

/// The trace that the manual asks about.
const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const PATIENCE: Duration = Duration::from_secs(60);

/// All manuals as one: what is started in one is there in the next. What a block of commands prints is compared with the block of
/// `text` that is the next one, if it is one.
#[test]
fn the_commands_of_the_manual_run() {
    let mut reader = Reader::new();
    let (mut commands, mut compared) = (0, 0);
    for name in ["README.md", "docs/policies.md", "docs/tools.md"] {
        let mut printed = None;
        for (language, block) in blocks(&manual(name)) {
            match (language.as_str(), printed.take()) {
                ("sh", _) => {
                    printed = Some(block.lines().map(|command| reader.run(command)).collect::<String>());
                    commands += block.lines().count();
                }
                ("text", Some(printed)) => {
                    assert!(is_shown(&block, &printed), "{name} shows\n{block}and what is printed is\n{printed}");
                    compared += 1;
                }
                _ => {}
            }
        }
    }
    assert!(commands > 10 && compared > 5, "{commands} commands, the output of {compared} blocks");
    reader.stop();
    witness("manual");
}

#[test]
fn what_is_shown_of_an_output_is_in_it() {
    let printed = "3 records\nfrom 10:00 to 11:00\nkept  2\n";
    for shown in [printed, "3 records\nfrom … to …\nkept  2\n", "…\nkept  2\n", "3 records\n…\n", "…\n"] {
        assert!(is_shown(shown, printed), "{shown}");
    }
    for shown in ["", "kept  2\n", "3 records\n", "3 records\n…\nkept  3\n", "3 … kept  2\n", "3 records.\n…\n"] {
        assert!(!is_shown(shown, printed), "{shown}");
    }
}

/// Whether a manual shows what was printed. `…` stands for what is left out: on its own for lines, in a line for a part of it.
fn is_shown(shown: &str, printed: &str) -> bool {
    let line = |line: &str| match line {
        "…" => "(?:.*\n)*".to_owned(),
        line => regex::escape(line).replace('…', ".*") + "\n",
    };
    let pattern: String = shown.lines().map(line).collect();
    // The last line may be an empty one.
    Regex::new(&format!("^{pattern}\n?$")).expect("a pattern").is_match(printed)
}

fn manual(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("a manual")
}

/// Its blocks of code and their languages.
fn blocks(manual: &str) -> Vec<(String, String)> {
    let blocks = manual.split("\n```").skip(1).step_by(2);
    let block =
        |block: &str| block.split_once('\n').map(|(language, block)| (language.to_owned(), format!("{block}\n")));
    blocks.filter_map(block).collect()
}

/// A folder with the files of the manual, and a topic with traces.
struct Reader {
    folder: TempDir,
    output: Topic,
    /// The processor that the manual left running.
    running: Option<(Child, Leash)>,
}

impl Reader {
    fn new() -> Self {
        let (input, output) = (kafka().topic("spans", 1), kafka().topic("spans-kept", 1));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
        // Of the last hour, and so many that time goes by.
        let record = |number: i64| {
            let at = now - 60_000 + 500 * number - EPOCH;
            let named = |name: &str, trace| Span { name: name.to_owned(), ..span(trace, 1, 0, at) };
            let span = match number {
                0 => named("GET /cart", TRACE.to_be_bytes()),
                1 => failed(named("GET /orders", trace(1))),
                _ => named("GET /orders", trace(number.unsigned_abs())),
            };
            keyed(0, at, vec![span])
        };
        input.produce((0..102).map(record));

        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let reader = Self { folder, output, running: None };
        let files = blocks(&manual("docs/policies.md"));
        let file = |word: &str| files.iter().map(|(_, file)| file).find(|file| file.contains(word)).expect("a file");
        let config = file("kafka:").replace("localhost:9092", &kafka().bootstrap);
        reader.write("tailwater.yaml", &format!("{config}http: {{ listen: \"127.0.0.1:0\" }}\n"));
        for (name, baseline) in [("policies.yaml", "1%"), ("new.yaml", "1%"), ("old.yaml", "10%")] {
            reader.write(name, &file("slow-carts").replace("probability: 1%", &format!("probability: {baseline}")));
        }
        // Other processors may run on this machine.
        reader.write("bin/pidof", "#!/bin/sh\ncat running\n");
        fs::set_permissions(reader.path("bin/pidof"), fs::Permissions::from_mode(0o755)).expect("a file of ours");
        reader
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    /// Runs a command as it is written, and returns what it printed. What runs until it is stopped is left running.
    fn run(&mut self, command: &str) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_tailwater")).parent().expect("a folder");
        let path = std::env::var("PATH").expect("a PATH");
        let path = format!("{}:{}:{path}", self.path("bin").display(), program.display());
        let mut shell = Command::new("sh");
        // The port may be somebody else's.
        shell.args(["-c", &format!("exec {}", command.replace(":8081", ":0"))]).env("PATH", path);
        shell.current_dir(self.folder.path()).stdin(Stdio::null());
        if command.starts_with("tailwater run") && !command.contains("--until-end") {
            self.stop();
            let said = fs::File::create(self.path("said")).expect("a file");
            let child = shell.stdout(Stdio::null()).stderr(said).spawn().expect("a shell");
            self.write("running", &child.id().to_string());
            let leash = Leash::on(&child);
            self.running = Some((child, leash));
            self.wait_for("assigned");
            if !command.contains("--dry-run") {
                wait_until("a trace to be kept", PATIENCE, || !self.output.records().is_empty());
            }
            return String::new();
        }
        let ran = shell.output().expect("a shell");
        let said = [ran.stdout, ran.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        println!("$ {command}\n{said}");
        assert!(ran.status.success(), "{command}: {}\n{said}", ran.status);
        if command.starts_with("kill -HUP") {
            self.wait_for("the policies are loaded again");
        }
        said
    }

    /// Waits until the processor has said it.
    fn wait_for(&self, words: &str) {
        let said = || fs::read_to_string(self.path("said")).unwrap_or_default();
        wait_until(words, PATIENCE, || said().contains(words));
    }

    fn stop(&mut self) {
        let Some((mut child, _leash)) = self.running.take() else { return };
        kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
        let status = child.wait().expect("it ends");
        assert!(status.success(), "{}", fs::read_to_string(self.path("said")).unwrap_or_default());
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.running {
            _ = child.kill();
            _ = child.wait();
        }
    }
}
