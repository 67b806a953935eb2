//! What the manual shows is what happens: its commands run as they are written, against its files.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::trace::v1::Span;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::{
    kafka::{Record, Topic, kafka},
    leash::Leash,
    spans::{failed, keyed, span, trace},
    wait::wait_until,
    witness,
};

/// The trace that the manual asks about.
const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const PATIENCE: Duration = Duration::from_secs(60);

/// All manuals as one: what is started in one is there in the next. Of what a program prints, what a block of `text` behind its
/// command shows is compared.
#[test]
fn the_commands_of_the_manual_run() {
    let mut reader = Reader::new();
    let mut commands = 0;
    for name in ["README.md", "docs/policies.md", "docs/tools.md"] {
        let mut printed = None;
        for (language, block) in blocks(&manual(name)) {
            match (language.as_str(), printed.take()) {
                ("sh", _) => {
                    for command in block.lines() {
                        printed = Some(reader.run(command));
                        commands += 1;
                    }
                }
                ("text", Some(printed)) => assert_eq!(printed, block, "in {name}"),
                _ => {}
            }
        }
    }
    assert!(commands > 10, "{commands}");
    reader.stop();
    witness("manual");
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
        let spans = [span(TRACE.to_be_bytes(), 1, 0, 0), failed(span(trace(1), 1, 0, 0))];
        let passing = (1_000..1_100).map(|number| span(trace(number), 1, 0, 0));
        let stamped =
            |(at, span): (i64, Span)| Record { timestamp: now - 60_000 + 500 * at, ..keyed(0, 0, vec![span]) };
        input.produce((0..).zip(spans.into_iter().chain(passing)).map(stamped));

        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let reader = Self { folder, output, running: None };
        let files = blocks(&manual("docs/policies.md"));
        let file = |word: &str| files.iter().map(|(_, file)| file).find(|file| file.contains(word)).expect("a file");
        let config = file("kafka:").replace("localhost:9092", &kafka().bootstrap);
        reader.write("tailwater.yaml", &format!("{config}http: {{ listen: \"127.0.0.1:0\" }}\n"));
        for name in ["policies.yaml", "new.yaml", "old.yaml"] {
            reader.write(name, file("slow-carts"));
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
