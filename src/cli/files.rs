//! The policy files a command is given.

use std::path::{Path, PathBuf};

use crate::{
    config::{self, Config, Policies},
    diagnostic::Diagnostics,
};

#[derive(clap::Args)]
pub struct Files {
    /// Policy files, or folders of them, read as one list. Default: the configuration's, or policies/
    #[arg(value_name = "FILES")]
    pub named: Vec<PathBuf>,
}

/// Where policies are looked for if nothing says where they are.
const FOLDER: &str = "policies";

// === impl Files ===

impl Files {
    /// What was named, or else the policies of the configuration. What counts as a root is the configuration's in any case.
    ///
    /// # Errors
    /// Every mistake in the files.
    pub fn load(&self, config: Option<&Config>) -> Result<Policies, Diagnostics> {
        match config {
            Some(config) if self.named.is_empty() => {
                Ok(Policies { set: config.policies.clone(), written: config.written_policies.clone() })
            }
            None if self.named.is_empty() && !Path::new(FOLDER).exists() => {
                let mut mistakes = Diagnostics::default();
                let hint = "name policy files or folders of them, or a configuration: `-c tailwater.yaml`";
                mistakes.error_nowhere(format!("no policies: there is no folder `{FOLDER}` here")).hint(hint);
                Err(mistakes)
            }
            None if self.named.is_empty() => config::load_policies(&[FOLDER.into()], None),
            _ => config::load_policies(&self.named, config.and_then(|config| config.policies.root())),
        }
    }
}
