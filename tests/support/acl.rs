//! Rights on the broker. Kafka's C client makes none, so the request is written here (CreateAcls, version 1).

use std::{
    io::{Read, Write},
    net::TcpStream,
};

/// What a right is about.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    Topic(&'a str),
    /// All whose names begin so.
    Topics(&'a str),
    Group(&'a str),
    TransactionalIds(&'a str),
}

/// Which right. Most of them include `Describe`.
#[derive(Clone, Copy, Debug)]
pub enum Operation {
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Describe = 8,
    DescribeConfigs = 10,
}

const CREATE_ACLS: i16 = 30;
const VERSION: i16 = 1;
const ALLOW: i8 = 3;

/// Lets a user do something, from anywhere. `bootstrap` is a listener on which everything is allowed.
pub fn allow(bootstrap: &str, user: &str, rights: &[(Operation, Resource<'_>)]) {
    let mut request = Vec::new();
    request.extend(CREATE_ACLS.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(7_i32.to_be_bytes());
    text(&mut request, "tests");
    request.extend((rights.len() as i32).to_be_bytes());
    for (operation, resource) in rights {
        let (kind, name, pattern) = match resource {
            Resource::Topic(name) => (2, name, 3),
            Resource::Topics(prefix) => (2, prefix, 4),
            Resource::Group(name) => (3, name, 3),
            Resource::TransactionalIds(prefix) => (5, prefix, 4),
        };
        request.push(kind);
        text(&mut request, name);
        request.push(pattern);
        text(&mut request, &format!("User:{user}"));
        text(&mut request, "*");
        request.extend([*operation as u8, ALLOW as u8]);
    }
    let mut stream = TcpStream::connect(bootstrap).expect("a broker");
    let len = (request.len() as i32).to_be_bytes();
    stream.write_all(&[&len[..], &request].concat()).expect("a request");
    let mut len = [0; 4];
    stream.read_exact(&mut len).expect("an answer");
    let mut answer = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut answer).expect("an answer");
    // Correlation, throttle time and count; then for each an error code and a message, which is empty without an error.
    let none = [0; 4];
    assert_eq!(answer.get(12..), Some(&none.repeat(rights.len())[..]), "{rights:?} for {user} are refused");
}

fn text(request: &mut Vec<u8>, text: &str) {
    request.extend((text.len() as i16).to_be_bytes());
    request.extend(text.as_bytes());
}
