//! Certificates of the tests' own authority, and one of nobody's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A folder of certificates with their keys, in PEM.
pub struct Certificates(PathBuf);

// === impl Certificates ===

impl Certificates {
    /// `ca` signs `broker` and `client`; `stranger` signs itself.
    pub fn make(folder: &Path) -> Self {
        let made = Self(folder.to_owned());
        made.sign("ca", &[]);
        made.sign("stranger", &[]);
        let (ca, key) = (made.path("ca.pem"), made.path("ca.key"));
        let by_ca = ["-CA", &ca, "-CAkey", &key];
        made.sign("client", &by_ca);
        made.sign("broker", &[&by_ca[..], &["-addext", "subjectAltName=IP:127.0.0.1"]].concat());
        let whole = made.text("broker.key") + &made.text("broker.pem");
        fs::write(made.path("broker.both"), whole).expect("the broker's key and certificate");
        made
    }

    /// `NAME.pem`, `NAME.key`; of the broker both in one file.
    pub fn path(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }

    pub fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).expect("a certificate or a key")
    }

    fn sign(&self, name: &str, by: &[&str]) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
            .args(["-subj", &format!("/CN={name}")])
            .args(["-keyout", &self.path(&format!("{name}.key")), "-out", &self.path(&format!("{name}.pem"))])
            .args(by)
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    }
}
