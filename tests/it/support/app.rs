//! Apps for the tests of the gateway: one that records the bytes that arrive, and the sample app of the documentation.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

/// A request as an app received it.
#[derive(Clone, Debug)]
pub struct Received {
    /// Request line and headers, with line feeds only.
    pub head: String,
    pub body: Vec<u8>,
}

impl Received {
    /// The values of a header, whose name is compared as it was written, in lower case.
    pub fn values(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).first().copied()
    }
}

/// An app that records each request and answers it with fixed bytes.
pub struct RecordingApp {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl RecordingApp {
    /// Answers every request with 200 and the text `ok`.
    pub fn start() -> Self {
        Self::answering(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())
    }

    /// Answers each request with the bytes that `answer` returns. The connection is closed after an answer without bytes.
    pub fn answering(answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (log, answer) = (Arc::clone(&received), Arc::new(answer));
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || serve(&connection, &log, &*answer));
            }
        });
        Self { url, received }
    }

    /// The requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The last request.
    pub fn last(&self) -> Received {
        self.received().pop().expect("the app got a request")
    }
}

fn serve(connection: &TcpStream, log: &Mutex<Vec<Received>>, answer: &dyn Fn(&Received) -> Vec<u8>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    while let Some(request) = read(&mut reader) {
        log.lock().unwrap().push(request.clone());
        let bytes = answer(&request);
        let mut writer = connection;
        if bytes.is_empty() || writer.write_all(&bytes).is_err() {
            let _ = connection.shutdown(std::net::Shutdown::Both);
            return;
        }
    }
}

/// Reads a request with its body, which has a length or comes in chunks. Trailers are appended to the head.
fn read(reader: &mut impl Lines) -> Option<Received> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            break;
        }
        head += line;
        head.push('\n');
    }
    let mut request = Received { head, body: Vec::new() };
    if request.value("transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            if size == 0 {
                break;
            }
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            request.body.extend_from_slice(&chunk[..size]);
        }
        loop {
            let mut trailer = String::new();
            reader.read_line(&mut trailer).ok()?;
            let trailer = trailer.trim_end();
            if trailer.is_empty() {
                break;
            }
            request.head += &format!("trailer {trailer}\n");
        }
    } else if let Some(length) = request.value("content-length") {
        request.body = vec![0; length.parse().unwrap()];
        reader.read_exact(&mut request.body).ok()?;
    }
    Some(request)
}

trait Lines: std::io::BufRead + Read {}

impl<T: std::io::BufRead + Read> Lines for T {}

/// The sample app `examples/apps/echo.py`.
pub struct SampleApp {
    pub url: String,
    process: Child,
}

impl SampleApp {
    /// `None` if Python is missing.
    pub fn start() -> Option<Self> {
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/apps/echo.py");
        let mut command = Command::new("python3");
        command.arg(app).arg("0").stdin(Stdio::null()).stdout(Stdio::piped());
        let Ok(mut process) = command.spawn() else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "python3 is missing");
            eprintln!("skipped: python3 is missing");
            return None;
        };
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().rsplit(' ').next().unwrap().to_owned();
        Some(Self { url, process })
    }
}

impl Drop for SampleApp {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
