//! What a cluster refuses: waiting does not help, so it is said what does, and the process ends.

use std::sync::{Mutex, PoisonError};

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

/// In one line, what is refused and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

/// What topics are used for.
#[derive(Clone, Copy, Debug)]
pub enum Use<'a> {
    Read(&'a [&'a str]),
    Write(&'a [&'a str]),
}

/// A client's trouble with brokers, for clients that nobody polls while they are asked something.
#[derive(Default)]
pub struct Trouble(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    refusal: Option<Refusal>,
    last: Option<String>,
}

/// Whether brokers have answered a reader, and will not answer otherwise.
pub fn is_refused(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
        )
    )
}

// === impl Refusal ===

impl Refusal {
    /// From what librdkafka says of a connection; None for what may be over by itself.
    pub fn of_connection(error: &KafkaError, reason: &str) -> Option<Self> {
        let tls = reason.to_ascii_lowercase();
        let alert = tls.contains("alert");
        let todo = match error.rdkafka_error_code()? {
            RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => {
                "correct `sasl.username`, `sasl.password` or `sasl.mechanism` in `kafka.properties`"
            }
            RDKafkaErrorCode::SSL if alert => OURS,
            RDKafkaErrorCode::SSL if tls.contains("certificate") => THEIRS,
            RDKafkaErrorCode::SSL => {
                "does the broker speak TLS at this port? Correct `security.protocol` in `kafka.properties`, or the port"
            }
            // With TLS 1.3 a broker looks at our certificate when we take the connection for made.
            RDKafkaErrorCode::BrokerTransportFailure if alert => OURS,
            _ => return None,
        };
        Some(Self(format!("no connection to Kafka ({}): {todo}", brief(reason))))
    }

    /// From an answer, of what a group may do; None for what may be over by itself.
    pub fn of_right(error: &KafkaError, group: &str, used: Use<'_>) -> Option<Self> {
        let (what, right) = match (error.rdkafka_error_code()?, used) {
            (RDKafkaErrorCode::TopicAuthorizationFailed, Use::Read(topics)) => {
                (format!("read {}", list(topics)), "Read on the topic".to_owned())
            }
            (RDKafkaErrorCode::TopicAuthorizationFailed, Use::Write(topics)) => {
                (format!("write to {}", list(topics)), "Write on the topic".to_owned())
            }
            (RDKafkaErrorCode::GroupAuthorizationFailed, _) => {
                (format!("be in the group `{group}`"), "Read on the group".to_owned())
            }
            (RDKafkaErrorCode::TransactionalIdAuthorizationFailed, _) => {
                let right = format!("Write on transactional ids that begin with `{group}/`");
                ("use transactions".to_owned(), right + ", or do without: `delivery: at_least_once`")
            }
            (RDKafkaErrorCode::ClusterAuthorizationFailed, _) => {
                ("write without doubles".to_owned(), "IdempotentWrite on the cluster".to_owned())
            }
            _ => return None,
        };
        Some(Self(format!("Kafka does not let this user {what}: grant {right} ({error})")))
    }
}

const OURS: &str = "the broker asks for a certificate that it trusts; set `ssl.certificate.location` and \
                    `ssl.key.location` in `kafka.properties` to one";
const THEIRS: &str = "the broker's certificate is not trusted; set `ssl.ca.location` in `kafka.properties` to the one it \
                      is signed with, and `kafka.brokers` to the name it is made out to";

/// Without how long it took, what librdkafka guesses, and where in OpenSSL it was.
fn brief(reason: &str) -> String {
    let reason = reason.split(" (after ").next().unwrap_or_default();
    let reason = reason.split(": broker certificate could not be verified").next().unwrap_or_default();
    let reason = reason.replacen("/bootstrap: ", ": ", 1);
    match (reason.find("error:"), reason.find("SSL routines::")) {
        (Some(start), Some(end)) if start < end => {
            format!("{}{}", &reason[..start], &reason[end + "SSL routines::".len()..])
        }
        _ => reason,
    }
}

fn list(topics: &[&str]) -> String {
    topics.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(" or ")
}

// === impl Trouble ===

impl Trouble {
    pub fn note(&self, error: &KafkaError, reason: &str) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(refusal) = Refusal::of_connection(error, reason) {
            noted.refusal = Some(refusal);
        }
        // That all are down follows from the others.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            noted.last = Some(reason.to_owned());
        }
    }

    /// The last refusal, once.
    pub fn refusal(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).refusal.take()
    }

    /// What librdkafka said last.
    pub fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }
}

impl ClientContext for Trouble {
    /// It says the same as the error, at its own time.
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.note(&error, reason);
    }
}

impl ConsumerContext for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: RDKafkaErrorCode, reason: &str) -> String {
        Refusal::of_connection(&KafkaError::Global(code), reason).map(|refusal| refusal.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_connection_is_refused_or_only_lost() {
        let untrusted = "ssl://b:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify \
                         failed: broker certificate could not be verified, verify that … (after 8ms in state \
                         SSL_HANDSHAKE)";
        let said = refusal(RDKafkaErrorCode::SSL, untrusted);
        let begin =
            "no connection to Kafka (ssl://b:1: SSL handshake failed: certificate verify failed): the broker's ";
        assert!(said.starts_with(begin), "{said}");
        let unknown = "ssl://b:1/bootstrap: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: \
                       SSL alert number 42 (after 2ms in state APIVERSION_QUERY)";
        assert!(refusal(RDKafkaErrorCode::BrokerTransportFailure, unknown).contains("ssl.certificate.location"));
        let away = "ssl://b:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused";
        assert_eq!(refusal(RDKafkaErrorCode::BrokerTransportFailure, away), "");
        assert_eq!(refusal(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down"), "");
    }

    #[test]
    fn a_right_is_named() {
        let right = |code, used| Refusal::of_right(&KafkaError::MessageProduction(code), "g", used).map(|of| of.0);
        assert_eq!(
            right(RDKafkaErrorCode::TopicAuthorizationFailed, Use::Write(&["a", "b"])).as_deref(),
            Some(
                "Kafka does not let this user write to `a` or `b`: grant Write on the topic (Message production error: \
                 TopicAuthorizationFailed (Broker: Topic authorization failed))"
            )
        );
        assert!(right(RDKafkaErrorCode::GroupAuthorizationFailed, Use::Read(&[])).is_some_and(|of| of.contains("`g`")));
        assert_eq!(right(RDKafkaErrorCode::RequestTimedOut, Use::Read(&[])), None);
    }
}
