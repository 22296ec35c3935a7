//! The other end: a thread that answers every request with the same bytes under the request's number.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use bytes::Bytes;
use rskafka_protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use rskafka_protocol::messages::{fetch, metadata, produce};
use rskafka_protocol::{ApiKey, Message, Request, encode_response};
use rskafka_transport::Endpoint;

/// Where the number stands in a frame, behind its length: in a request behind key and version.
const IN_REQUEST: std::ops::Range<usize> = 4..8;
const IN_ANSWER: std::ops::Range<usize> = 4..8;

pub(crate) struct Peer(Endpoint);

impl Peer {
    /// Starts one that lives as long as the process. `answer` is a whole frame.
    pub(crate) fn start(answer: Bytes) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("the client connects");
            // An error is the end of the client.
            let _ = serve(stream, answer.to_vec());
        });
        Self(Endpoint::new("127.0.0.1", port))
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.0
    }
}

fn serve(mut stream: TcpStream, mut answer: Vec<u8>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let versions = versions();
    let mut frame = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        frame.resize(u32::from_be_bytes(length) as usize, 0);
        stream.read_exact(&mut frame)?;
        if frame[..2] == ApiKey::API_VERSIONS.0.to_be_bytes() {
            let mut versions = versions.clone();
            versions[IN_ANSWER].copy_from_slice(&frame[IN_REQUEST]);
            stream.write_all(&versions)?;
        } else {
            answer[IN_ANSWER].copy_from_slice(&frame[IN_REQUEST]);
            stream.write_all(&answer)?;
        }
    }
}

/// The answer to ApiVersions, with all that is asked here.
fn versions() -> Vec<u8> {
    fn of<R: Request>() -> ApiVersion {
        let (min_version, max_version) = (R::VERSIONS.min, R::VERSIONS.max);
        ApiVersion { api_key: R::API_KEY.0, min_version, max_version }
    }
    let api_keys =
        vec![of::<produce::ProduceRequest>(), of::<fetch::FetchRequest>(), of::<metadata::MetadataRequest>()];
    let response = ApiVersionsResponse { api_keys, ..Default::default() };
    let version = ApiVersionsResponse::VERSIONS.max;
    encode_response(&response, version, 0).expect("it can be encoded").to_bytes().to_vec()
}
