//! The programs on the command line: errors for wrong arguments, and output to a reader that goes away.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn verifier(args: &[&str]) -> Command {
    let mut verifier = Command::new(env!("CARGO_BIN_EXE_rskafka-verifier"));
    verifier.args(args);
    verifier
}

fn simulate(args: &[&str]) -> Command {
    let mut simulate = Command::new(env!("CARGO_BIN_EXE_simulate"));
    simulate.args(args);
    simulate
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_demo_that_reaches_no_broker_gives_up_after_ten_seconds_with_a_cause_for_each_address() {
    let since = Instant::now();
    let output = verifier(&["demo", "--bootstrap", "127.0.0.1:1,nosuch.invalid:9092"]).output().unwrap();
    assert!(since.elapsed() > Duration::from_secs(8) && since.elapsed() < Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(1));
    let text = errors(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "connecting to 127.0.0.1:1, nosuch.invalid:9092, for at most 10 s");
    assert!(lines[1].starts_with("error: cannot connect to 127.0.0.1:1, nosuch.invalid:9092: "), "{text}");
    assert!(lines[1].contains("127.0.0.1:1: Connection refused"), "{text}");
    assert!(lines[1].contains("nosuch.invalid:9092: the name cannot be resolved"), "{text}");
    assert_eq!(lines.len(), 2, "{text}");
}

#[test]
fn a_demo_against_a_port_that_speaks_tls_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // A TLS server answers anything else with an alert.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(&[0x15, 3, 3, 0, 2, 2, 80]);
        }
    });
    let since = Instant::now();
    let output = verifier(&["demo", "--bootstrap", &address]).output().unwrap();
    assert!(since.elapsed() < Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(1));
    let text = errors(&output);
    assert!(text.contains(&address) && text.contains("(the peer speaks TLS)"), "{text}");
}

#[test]
fn no_argument_gets_the_help_and_a_wrong_one_the_usage() {
    let output = verifier(&[]).output().unwrap();
    assert!(errors(&output).contains("Usage: rskafka-verifier <COMMAND>"), "{}", errors(&output));
    let output = verifier(&["demo", "--record", "5"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("'--records'"), "{}", errors(&output));
    let output = verifier(&["chaos", "--seed", "1"]).output().unwrap();
    assert!(errors(&output).contains("--environment <ENVIRONMENT>"), "{}", errors(&output));
    for seeds in ["5", "5..a", "5..5"] {
        let output = simulate(&["--seeds", seeds]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(errors(&output).contains("it is A..B, such as 0..2000"), "{}", errors(&output));
    }
}

#[test]
fn a_reader_that_goes_away_does_no_harm() {
    let demo = || verifier(&["demo", "--records", "2000"]);
    for mut command in [demo(), simulate(&["--seed", "3", "--trace"])] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.stdout(writer).output().unwrap();
        assert!(output.status.success(), "{}", errors(&output));
        assert!(!errors(&output).contains("panicked"), "{}", errors(&output));
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert!(demo().stderr(writer).output().unwrap().status.success());
}
