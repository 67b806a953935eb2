use std::{
    io::{Write, stdout},
    process::ExitCode,
};

fn main() {
    let ended = tailwater::cli::main();
    let code = (0..=u8::MAX).find(|code| ExitCode::from(*code) == ended).unwrap_or(1);
    _ = stdout().flush();
    // librdkafka's threads may still be at work: a broker need not answer before we go. Exit handlers would take away what they
    // work with, OpenSSL's tables for one, and now and then a process that had said why it ends died of that instead.
    //
    // SAFETY: `_exit` asks nothing of its caller and does not return; it runs no code of this process.
    unsafe { libc::_exit(i32::from(code)) }
}
