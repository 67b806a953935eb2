//! The processor's own numbers, read from its `/metrics` as any scraper would.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, ensure};

/// Samples of one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Metrics(Vec<Sample>);

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// The processor answers from memory on the same machine, which may be busy.
const PATIENCE: Duration = Duration::from_secs(2);
/// A few hundred series of some 100 bytes each; anything longer is not ours.
const MOST_BYTES: u64 = 4 << 20;

/// Where a person finds them.
pub(super) fn url(port: u16) -> String {
    format!("http://{}:{port}/metrics", Ipv4Addr::LOCALHOST)
}

/// Scrapes the processor on a port of this machine.
///
/// # Errors
/// Nobody answers in time, or not with 200.
pub(super) fn metrics(port: u16) -> anyhow::Result<Metrics> {
    let (status, body) = get(port, "/metrics")?;
    ensure!(status == 200, "/metrics answered {status}");
    Ok(Metrics::parse(&body))
}

/// Whether `/readyz` says so.
pub(super) fn is_ready(port: u16) -> bool {
    get(port, "/readyz").is_ok_and(|(status, _)| status == 200)
}

// === impl Metrics ===

impl Metrics {
    /// The sum over all series of a name that have the labels; None where there is no such series.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut values =
            self.0.iter().filter(|sample| sample.name == name && sample.has(labels)).map(|s| s.value).peekable();
        values.peek().is_some().then(|| values.sum())
    }

    /// As [`Metrics::sum`], for counters and gauges of whole things; 0 where there is no such series.
    pub fn count(&self, name: &str) -> u64 {
        self.sum(name, &[]).unwrap_or(0.0) as u64
    }

    /// Sums by the values of one label, in the order of their first series.
    pub fn by(&self, name: &str, label: &str, labels: &[(&str, &str)]) -> Vec<(String, u64)> {
        let mut sums: Vec<(String, u64)> = Vec::new();
        for sample in self.0.iter().filter(|sample| sample.name == name && sample.has(labels)) {
            let Some((_, value)) = sample.labels.iter().find(|(key, _)| key == label) else { continue };
            match sums.iter_mut().find(|(known, _)| known == value) {
                Some((_, sum)) => *sum += sample.value as u64,
                None => sums.push((value.clone(), sample.value as u64)),
            }
        }
        sums
    }

    /// Source: Prometheus text exposition format 0.0.4. Lines that are none are passed over.
    fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(Sample::parse).collect())
    }
}

// === impl Sample ===

impl Sample {
    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(key, value)| self.labels.iter().any(|(k, v)| k == key && v == value))
    }

    fn parse(line: &str) -> Option<Self> {
        let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                rest = rest.trim_start_matches([',', ' ']);
                if let Some(after) = rest.strip_prefix('}') {
                    rest = after;
                    break;
                }
                let (key, quoted) = rest.split_once("=\"")?;
                let (value, after) = unquote(quoted)?;
                labels.push((key.to_owned(), value));
                rest = after;
            }
        }
        let value = rest.split_whitespace().next()?.parse().ok()?;
        Some(Self { name: name.to_owned(), labels, value })
    }
}

/// A label's value up to its closing quote, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

fn get(port: u16, path: &str) -> anyhow::Result<(u16, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // HTTP/1.0: the body ends with the connection, and is never chunked.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const TEXT: &str = "# HELP a counter\n# TYPE a counter\na 3\n\
        d_total{verdict=\"keep\",policy=\"errors\",reason=\"structure\"} 5\n\
        d_total{verdict=\"keep\",policy=\"errors\",reason=\"max_wait\"} 2 1700000000000\n\
        d_total{verdict=\"drop\",policy=\"a \\\"b\\\\c,}\"} 1e3\nbroken{x=\"\nnan NaN\n";

    #[test]
    fn prometheus_text_is_read() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.count("a"), 3);
        assert_eq!(metrics.sum("absent", &[]), None);
        assert_eq!(metrics.sum("d_total", &[("verdict", "keep")]), Some(7.0));
        assert_eq!(metrics.by("d_total", "policy", &[]), [("errors".to_owned(), 7), ("a \"b\\c,}".to_owned(), 1000)]);
    }

    #[test]
    fn a_scrape_is_plain_http() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            for answer in
                ["HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\na 7\n", "HTTP/1.1 503 Service Unavailable\r\n\r\n"]
            {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 512];
                let length = stream.read(&mut request).unwrap();
                assert!(request[..length].starts_with(b"GET /"));
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        assert_eq!(metrics(port).unwrap().count("a"), 7);
        assert!(!is_ready(port));
        server.join().unwrap();
        assert!(metrics(port).is_err(), "nobody listens any more");
    }
}
