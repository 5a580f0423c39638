//! A small web server on the loopback interface, for tests. It is a proxy as well, so that tests
//! can name it as one, whatever proxy the environment names.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// The first byte asked for, where not all are.
    pub(crate) from: Option<usize>,
}

/// What is sent. The connection is closed after it.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
    /// The length that is announced, if not that of the body.
    pub(crate) announced: Option<usize>,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), announced: None }
    }

    /// All of it, whatever is asked for.
    pub(crate) fn whole(body: &[u8]) -> Self {
        Self { body: body.to_vec(), ..Self::status(200) }
    }

    /// What is asked for.
    pub(crate) fn piece(request: &Request, body: &[u8]) -> Self {
        match request.from {
            None => Self::whole(body),
            Some(from) if from >= body.len() => Self::status(416),
            Some(from) => {
                let range = format!("Content-Range: bytes {from}-{}/{0}", body.len() - 1);
                Self { headers: vec![range], body: body[from..].to_vec(), ..Self::status(206) }
            }
        }
    }

    /// The same, closed after `bytes` of the body.
    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.announced = Some(self.body.len());
        self.body.truncate(bytes);
        self
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self { headers: vec![format!("Location: {to}")], ..Self::status(302) }
    }
}

pub(crate) struct Server {
    /// `http://127.0.0.1:PORT`
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers every request by `answer`, which also gets how many came before it since the last
    /// call of [`Server::requests`].
    pub(crate) fn start(answer: impl Fn(&Request, usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (requests, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, stopped) = (requests.clone(), stop.clone());
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                // A client that goes away is not the server's problem.
                let _ = stream.and_then(|stream| serve(stream, &answer, &seen));
            }
        });
        Self { address, requests, stop, thread: Some(thread) }
    }

    /// What was asked for since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address.trim_start_matches("http://"));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An address at which nothing listens.
pub(crate) fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn serve(
    mut stream: TcpStream,
    answer: impl Fn(&Request, usize) -> Answer,
    seen: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let mut head = head(&mut stream)?;
    if head.starts_with("CONNECT ") {
        stream.write_all(b"HTTP/1.1 200 connected\r\n\r\n")?;
        head = self::head(&mut stream)?;
    }
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let range = head.lines().find_map(|line| line.strip_prefix("Range: bytes="));
    let from = range.and_then(|range| range.trim_end_matches('-').parse().ok());
    let request = Request { path, from };
    let mut seen = seen.lock().unwrap();
    let answer = answer(&request, seen.len());
    seen.push(request);
    drop(seen);
    let length = answer.announced.unwrap_or(answer.body.len());
    let mut text = format!("HTTP/1.1 {} x\r\nContent-Length: {length}\r\n", answer.status);
    for header in &answer.headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str("Connection: close\r\n\r\n");
    stream.write_all(text.as_bytes())?;
    stream.write_all(&answer.body)
}

/// Everything before the empty line.
fn head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") && bytes.len() < 10_000 {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
