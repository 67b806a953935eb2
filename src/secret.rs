//! What must not be shown: the secrets among the properties of Kafka's client.

use std::{borrow::Cow, ops::Range};

/// Whether the value of a property is a secret, or may be one: a slip in a name makes no secret public.
pub fn is_secret(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let of_security = ["sasl.", "ssl."].iter().any(|prefix| name.starts_with(prefix));
    (of_security && !PUBLIC.contains(&last)) || (name.contains('.') && SECRET.contains(&last))
}

/// A line of a text as it may be shown: with a star for every byte of a secret, so that all else stands where it stood.
///
/// The text need not be right in any way. Where it is not clear where a secret ends, more is hidden.
pub fn shown(text: &str, line: Range<usize>) -> Cow<'_, str> {
    // The indentation of a line whose secret goes on below it.
    let mut open = None;
    let mut start = 0;
    for each in text[..line.end].split_inclusive('\n') {
        let indentation = each.len() - each.trim_start().len();
        let continued = open.is_some_and(|key| indentation > key || !each.contains(':'));
        let hidden = if continued { (!is_reference(each)).then_some(indentation) } else { secret_in(each) };
        if !continued {
            open = hidden.filter(|&at| goes_on(each, at)).map(|_| indentation);
        }
        if start + each.len() > line.start {
            let shown = &text[line.clone()];
            return match hidden.map(|at| (start + at).saturating_sub(line.start)).filter(|&at| at < shown.len()) {
                Some(at) => {
                    let stars = shown[at..].bytes().map(|b| if b.is_ascii_whitespace() { ' ' } else { '*' });
                    Cow::Owned(shown[..at].chars().chain(stars).collect())
                }
                None => Cow::Borrowed(shown),
            };
        }
        start += each.len();
    }
    Cow::Borrowed(&text[line])
}

/// Ends of names that begin with `sasl.` or `ssl.` and whose values anybody may see.
const PUBLIC: [&str; 19] = [
    "algorithm",
    "extensions",
    "id",
    "issuer",
    "keytab",
    "list",
    "location",
    "mechanism",
    "mechanisms",
    "method",
    "name",
    "principal",
    "providers",
    "scope",
    "stores",
    "suites",
    "type",
    "url",
    "username",
];
/// Ends of names that tell a secret whatever is before them.
const SECRET: [&str; 4] = ["passphrase", "password", "pem", "secret"];

/// Where in a line the value of a secret begins.
fn secret_in(line: &str) -> Option<usize> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut from = 0;
    while let Some(begin) = line[from..].find(in_name).map(|at| from + at) {
        let end = line[begin..].find(|c| !in_name(c)).map_or(line.len(), |len| begin + len);
        let value = line[end..].trim_start_matches(['"', '\'']).trim_start_matches([' ', '\t', ':', '=']);
        // `attributes["ssl.cipher"]` is a path of a condition.
        if is_secret(&line[begin..end]) && !value.starts_with(']') && !is_reference(value) {
            return Some(line.len() - value.len());
        }
        from = end;
    }
    None
}

/// Whether a value only says where the secret is.
fn is_reference(value: &str) -> bool {
    let value = value.trim_start_matches(|c: char| c == '{' || c.is_whitespace());
    ["env:", "file:"].iter().any(|field| value.starts_with(field))
}

/// Whether a secret that begins in a line may have more lines.
fn goes_on(line: &str, at: usize) -> bool {
    let value = line[at..].trim();
    let closed = |quote| value.len() > 1 && value.starts_with(quote) && value.ends_with(quote);
    !line[..at].contains('{') && !closed('"') && !closed('\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines as they are shown one by one.
    fn all(text: &str) -> String {
        let mut start = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            let range = start..start + line.trim_end_matches('\n').len();
            start += line.len();
            shown(text, range).into_owned() + "\n"
        });
        lines.collect()
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "sasl.password",
            "sasl.pasword",
            "sals.password",
            "ssl.key.pem",
            "ssl.key.password",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.assertion.private.key.passphrase",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "security.protocol",
            "sasl.mechanism",
            "sasl.username",
            "ssl.ca.location",
            "ssl.endpoint.identification.algorithm",
            "sasl.oauthbearer.client.id",
            "linger.ms",
            "password",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = r#"kafka: { brokers: a, properties: { sasl.username: ü, "sasl.password": hunter2, linger.ms: 5 } }
kafka: { properties: { sasl.password: { env: NAME }, ssl.key.password: hunter2 } }
kafka:
  properties:
    sasl.password: 'hunter2'
    linger.ms: 5
    sasl.password:hunter2
    ssl.ca.location: ca.pem
    ssl.key.pem: |
      hunter2
    hunter2
hunter2==
    sasl.username: me
    sasl.password: "hunter2
      hunter2"
    security.protocol: SSL
    sasl.password:
      file: password
    ssl.key.password: hunter2
  more: |
    when: attributes["ssl.cipher"] == "hunter3"
"#;
        insta::assert_snapshot!(all(text), @r#"
        kafka: { brokers: a, properties: { sasl.username: ü, "sasl.password": ******** ********** * * *
        kafka: { properties: { sasl.password: { env: NAME }, ssl.key.password: ******* * *
        kafka:
          properties:
            sasl.password: *********
            linger.ms: 5
            sasl.password:*******
            ssl.ca.location: ca.pem
            ssl.key.pem: *
              *******
            *******
        *********
            sasl.username: me
            sasl.password: ********
              ********
            security.protocol: SSL
            sasl.password:
              file: password
            ssl.key.password: *******
          more: |
            when: attributes["ssl.cipher"] == "hunter3"
        "#);
    }
}
