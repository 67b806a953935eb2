//! Instructions as Valgrind counts them, which runs the program again for each case: over the first half of some traffic, and over
//! all of it. The difference is what the second half costs, start-up and warm-up taken out.

use std::{env, hint::black_box, path::Path, process::Command};

use anyhow::{Context, ensure};

use super::{Case, Form, Records, records::spans};

/// Names the case to be counted, to the program under Valgrind.
const COUNTED: &str = "TAILWATER_COUNTED";
/// Of the traffic, in the folder that the program is started in.
const FILE: &str = "records";

/// Traffic of so many seconds, in a folder.
pub struct Counter<'r> {
    records: &'r Records,
    seconds: u64,
    folder: tempfile::TempDir,
}

// === impl Counter ===

impl<'r> Counter<'r> {
    /// # Errors
    /// The traffic cannot be saved.
    pub fn over(records: &'r Records, seconds: u64) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        records.save(&folder.path().join(FILE))?;
        Ok(Self { records, seconds, folder })
    }

    /// A span, in the second half.
    ///
    /// # Errors
    /// Valgrind is not there, or the program fails.
    pub fn instructions(&self, case: Case) -> anyhow::Result<f64> {
        let half = self.seconds / 2;
        let (_, counted) = self.records.split(half);
        Ok((self.count(case, self.seconds)? - self.count(case, half)?) / spans(counted) as f64)
    }

    fn count(&self, case: Case, seconds: u64) -> anyhow::Result<f64> {
        let case = Case::ALL.iter().position(|&other| other == case).expect("all are there");
        let form = Form::ALL.iter().position(|&other| other == self.records.form).expect("all are there");
        let output = Command::new("valgrind")
            .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
            .arg(env::current_exe()?)
            .current_dir(self.folder.path())
            .env(COUNTED, format!("{case} {form} {seconds}"))
            .output()
            .context("valgrind is needed to count instructions")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "valgrind: {said}");
        let refs =
            said.lines().find_map(|line| line.split_once("I   refs:")).context("valgrind counts no instructions")?;
        Ok(refs.1.trim().replace(',', "").parse()?)
    }
}

/// Whether this is the program under Valgrind: it has run its case then, and is to end.
///
/// # Errors
/// It was not started by a [`Counter`].
pub fn is_counted() -> anyhow::Result<bool> {
    let Ok(counted) = env::var(COUNTED) else { return Ok(false) };
    let words: Vec<usize> = counted.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [case, form, seconds] = words[..] else { anyhow::bail!("three numbers are needed, not `{counted}`") };
    let (case, form) = (Case::ALL[case], Form::ALL[form]);
    let records = Records::load(form, Path::new(FILE))?;
    let mut run = case.warm(form, &[]);
    black_box(run.take(records.split(seconds as u64).0));
    Ok(true)
}
