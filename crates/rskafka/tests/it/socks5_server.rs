//! The SOCKS5 server and a raw client, over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::common::socks5::{ReplyCode, Socks5Server};
use crate::kit::nobody;

const PATIENCE: Duration = Duration::from_secs(10);

/// A server that sends back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

/// Says each of these and gives what the server says in between, until it is silent for good.
async fn say(server: &Socks5Server, messages: &[&[u8]]) -> (TcpStream, Vec<Vec<u8>>) {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let mut replies = Vec::new();
    for message in messages {
        stream.write_all(message).await.unwrap();
        let mut reply = vec![0; 1024];
        let count = timeout(PATIENCE, stream.read(&mut reply)).await.unwrap().unwrap();
        reply.truncate(count);
        replies.push(reply);
    }
    (stream, replies)
}

fn to_name(name: &str, port: u16) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    [&[5, 1, 0, 3, length][..], name.as_bytes(), &port.to_be_bytes()].concat()
}

fn to_address(address: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(address) = address else { panic!("an IPv4 address") };
    [&[5, 1, 0, 1][..], &address.ip().octets(), &address.port().to_be_bytes()].concat()
}

fn reply(code: u8) -> Vec<u8> {
    vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

async fn assert_echoes(stream: &mut TcpStream) {
    stream.write_all(b"hello").await.unwrap();
    let mut back = [0; 5];
    timeout(PATIENCE, stream.read_exact(&mut back)).await.unwrap().unwrap();
    assert_eq!(&back, b"hello");
}

#[tokio::test]
async fn a_name_is_resolved_by_the_server() {
    let echo = echo().await;
    let server = Socks5Server::builder().start().await.unwrap();
    let (mut stream, replies) = say(&server, &[&[5, 1, 0], &to_name("localhost", echo.port())]).await;
    assert_eq!(replies, [vec![5, 0], reply(0)]);
    assert_echoes(&mut stream).await;
    assert_eq!(server.destinations(), [format!("localhost:{}", echo.port())]);
}

#[tokio::test]
async fn an_address_is_taken_with_user_and_password() {
    let echo = echo().await;
    let server = Socks5Server::builder().password("alice", "secret").start().await.unwrap();
    let login = b"\x01\x05alice\x06secret";
    let (mut stream, replies) = say(&server, &[&[5, 2, 0, 2], login, &to_address(echo)]).await;
    assert_eq!(replies, [vec![5, 2], vec![1, 0], reply(0)]);
    assert_echoes(&mut stream).await;
    assert_eq!(server.destinations(), [echo.to_string()]);
}

#[tokio::test]
async fn a_wrong_password_or_none_ends_the_connection() {
    let server = Socks5Server::builder().password("alice", "secret").start().await.unwrap();
    let (mut stream, replies) = say(&server, &[&[5, 1, 2], b"\x01\x05alice\x05wrong"]).await;
    assert_eq!(replies, [vec![5, 2], vec![1, 1]]);
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
    let (mut stream, replies) = say(&server, &[&[5, 1, 0]]).await;
    assert_eq!(replies, [vec![5, 0xff]]);
    assert_eq!(timeout(PATIENCE, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
    assert!(server.destinations().is_empty());
}

#[tokio::test]
async fn it_refuses_with_each_code() {
    for code in [ReplyCode::NotAllowed, ReplyCode::HostUnreachable, ReplyCode::ConnectionRefused] {
        let server = Socks5Server::builder().refuse(code).start().await.unwrap();
        let (mut stream, replies) = say(&server, &[&[5, 1, 0], &to_name("broker.test", 9092)]).await;
        assert_eq!(replies, [vec![5, 0], reply(code as u8)]);
        assert_eq!(timeout(PATIENCE, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
    }
}

#[tokio::test]
async fn a_destination_that_refuses_is_told_as_such() {
    let (_socket, nobody) = nobody();
    let server = Socks5Server::builder().start().await.unwrap();
    let (_, replies) = say(&server, &[&[5, 1, 0], &to_address(nobody.parse().unwrap())]).await;
    assert_eq!(replies, [vec![5, 0], reply(5)]);
}

#[tokio::test]
async fn what_is_not_socks5_ends_the_connection() {
    let server = Socks5Server::builder().start().await.unwrap();
    for said in [&b"\x04"[..], b"\x05\x01\x00\x05\x02\x00\x01", b"\x05\x01\x00\x05\x01\x00\x07"] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(answer.len() <= 2 && server.destinations().is_empty(), "{answer:?}");
    }
}
